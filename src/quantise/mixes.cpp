#include "quantise/mixes.h"

#include <algorithm>
#include <cctype>

namespace brimful::quantise {
namespace {

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  });
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all{
      {"Q1_0", LLAMA_FTYPE_MOSTLY_Q1_0},           {"Q2_0", LLAMA_FTYPE_MOSTLY_Q2_0},
      {"Q4_0", LLAMA_FTYPE_MOSTLY_Q4_0},           {"Q4_1", LLAMA_FTYPE_MOSTLY_Q4_1},
      {"MXFP4_MOE", LLAMA_FTYPE_MOSTLY_MXFP4_MOE}, {"Q5_0", LLAMA_FTYPE_MOSTLY_Q5_0},
      {"Q5_1", LLAMA_FTYPE_MOSTLY_Q5_1},           {"IQ2_XXS", LLAMA_FTYPE_MOSTLY_IQ2_XXS},
      {"IQ2_XS", LLAMA_FTYPE_MOSTLY_IQ2_XS},       {"IQ2_S", LLAMA_FTYPE_MOSTLY_IQ2_S},
      {"IQ2_M", LLAMA_FTYPE_MOSTLY_IQ2_M},         {"IQ1_S", LLAMA_FTYPE_MOSTLY_IQ1_S},
      {"IQ1_M", LLAMA_FTYPE_MOSTLY_IQ1_M},         {"TQ1_0", LLAMA_FTYPE_MOSTLY_TQ1_0},
      {"TQ2_0", LLAMA_FTYPE_MOSTLY_TQ2_0},         {"Q2_K", LLAMA_FTYPE_MOSTLY_Q2_K},
      {"Q2_K_S", LLAMA_FTYPE_MOSTLY_Q2_K_S},       {"IQ3_XXS", LLAMA_FTYPE_MOSTLY_IQ3_XXS},
      {"IQ3_S", LLAMA_FTYPE_MOSTLY_IQ3_S},         {"IQ3_M", LLAMA_FTYPE_MOSTLY_IQ3_M},
      {"Q3_K", LLAMA_FTYPE_MOSTLY_Q3_K_M},         {"IQ3_XS", LLAMA_FTYPE_MOSTLY_IQ3_XS},
      {"Q3_K_S", LLAMA_FTYPE_MOSTLY_Q3_K_S},       {"Q3_K_M", LLAMA_FTYPE_MOSTLY_Q3_K_M},
      {"Q3_K_L", LLAMA_FTYPE_MOSTLY_Q3_K_L},       {"IQ4_NL", LLAMA_FTYPE_MOSTLY_IQ4_NL},
      {"IQ4_XS", LLAMA_FTYPE_MOSTLY_IQ4_XS},       {"Q4_K", LLAMA_FTYPE_MOSTLY_Q4_K_M},
      {"Q4_K_S", LLAMA_FTYPE_MOSTLY_Q4_K_S},       {"Q4_K_M", LLAMA_FTYPE_MOSTLY_Q4_K_M},
      {"Q5_K", LLAMA_FTYPE_MOSTLY_Q5_K_M},         {"Q5_K_S", LLAMA_FTYPE_MOSTLY_Q5_K_S},
      {"Q5_K_M", LLAMA_FTYPE_MOSTLY_Q5_K_M},       {"Q6_K", LLAMA_FTYPE_MOSTLY_Q6_K},
      {"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},           {"F16", LLAMA_FTYPE_MOSTLY_F16},
      {"BF16", LLAMA_FTYPE_MOSTLY_BF16},           {"F32", LLAMA_FTYPE_ALL_F32},
      {"COPY", LLAMA_FTYPE_ALL_F32, true},
  };
  return all;
}

const Target* find_target(std::string_view name) {
  const auto found =
      std::ranges::find_if(targets(), [&](const Target& target) { return same_name(target.name, name); });
  return found == targets().end() ? nullptr : &*found;
}

std::optional<ggml_type> find_type(std::string_view name) {
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    const char* const known = ggml_type_name(type);
    if (known == nullptr || !same_name(known, name)) continue;
    // What ggml_quantize_chunk() makes: the types of activations and integers are none of them.
    const bool made = type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 ||
                      (ggml_is_quantized(type) && type != GGML_TYPE_Q8_1 && type != GGML_TYPE_Q8_K);
    return made ? std::optional(type) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace brimful::quantise

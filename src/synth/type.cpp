#include "synth/type.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

namespace brimful::synth {
namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

bool has_codebook(ggml_type type) {
  switch (type) {
    case GGML_TYPE_IQ1_S:
    case GGML_TYPE_IQ1_M:
    case GGML_TYPE_IQ2_XXS:
    case GGML_TYPE_IQ2_XS:
    case GGML_TYPE_IQ2_S:
    case GGML_TYPE_IQ3_XXS:
    case GGML_TYPE_IQ3_S: return true;
    default: return false;
  }
}

std::vector<ggml_type> synth_types() {
  std::vector<ggml_type> types;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    // A type without conversion to floats is an integer, or a format for activations only.
    if (type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr) types.push_back(type);
  }
  return types;
}

Result<ggml_type> find_synth_type(std::string_view name) {
  std::vector<std::string> names;
  for (const ggml_type type : synth_types()) {
    if (equal_ignoring_case(ggml_type_name(type), name)) return type;
    names.push_back(synth_type_name(type));
  }
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("there is no weight type called '{}'; choose one of {}", name, fmt::join(names, ", ")));
}

std::string synth_type_name(ggml_type type) {
  std::string name = ggml_type_name(type);
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

ggml_type type_for_rows(ggml_type wanted, std::int64_t row_length) {
  for (const ggml_type type : {wanted, GGML_TYPE_Q8_0}) {
    if (row_length % ggml_blck_size(type) == 0) return type;
  }
  return GGML_TYPE_F16;
}

}  // namespace brimful::synth

#include "session/cache_type.h"

#include <fmt/format.h>

#include <array>

namespace brimful::session {
namespace {

constexpr std::array kTypes{GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,  GGML_TYPE_Q4_0,
                            GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_IQ4_NL};

}  // namespace

Result<ggml_type> cache_type(std::string_view option, const std::string& name, std::string_view others) {
  std::string known;
  for (const ggml_type type : kTypes) {
    if (name == ggml_type_name(type)) return type;
    known += fmt::format(" {}", ggml_type_name(type));
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} {}: is not a cache type; choose one of{}{}{}", option, name, known,
                          others.empty() ? "" : " ", others));
}

Status check_value_cache(std::string_view option, ggml_type type, bool without_flash,
                         std::string_view flash_option) {
  if (!without_flash || !ggml_is_quantized(type)) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} {}: a quantised V cache needs flash attention; leave out {}", option,
                          ggml_type_name(type), flash_option));
}

}  // namespace brimful::session

#include "cli/vram_option.h"

#include <fmt/format.h>

#include <sstream>

namespace strata::cli {

Result<std::vector<VramPart>> parse_vram(const std::string& text) {
  std::vector<VramPart> out;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    auto size = parse_bytes(equals == std::string::npos ? part : part.substr(equals + 1));
    if (!size) return fail(ErrorCode::kInvalidArgument, fmt::format("--vram: {}", size.error().message));
    VramPart one{part, std::nullopt, *size};
    if (equals != std::string::npos) one.name = part.substr(0, equals);
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace strata::cli

#include "cli/ram_budget.h"

#include <fmt/format.h>

#include "base/counted.h"

namespace brimful::cli {

Result<Bytes> parse_ram(const std::string& text) {
  const auto ram = parse_bytes(text);
  if (!ram) return fail(ErrorCode::kInvalidArgument, fmt::format("--ram: {}", ram.error().message));
  const bool has_unit = text.find_first_not_of("0123456789.") != std::string::npos;
  if (*ram >= kMiB || (has_unit && *ram > Bytes{})) return *ram;
  return fail(*ram > Bytes{} ? ErrorCode::kInfeasible : ErrorCode::kInvalidArgument,
              fmt::format("--ram {}: a budget of {} holds no model: use a unit, as in 12GiB", text,
                          counted(ram->value, "byte")));
}

}  // namespace brimful::cli

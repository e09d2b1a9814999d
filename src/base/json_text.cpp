#include "base/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>

namespace strata {
namespace {

/// Of the first byte that is wrong, counted from 1.
std::string place_of(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, byte == 0 ? 0 : byte - 1);
  const auto lines = static_cast<std::size_t>(std::ranges::count(before, '\n'));
  // A newline at the end of the only line is no reason to count lines.
  if (text.find('\n') >= text.size() - 1 || text.empty()) return fmt::format("byte {}", byte);
  const std::size_t begin = before.rfind('\n');
  const std::size_t column = before.size() - (begin == std::string_view::npos ? 0 : begin + 1) + 1;
  return fmt::format("line {}, column {}", lines + 1, column);
}

std::unexpected<Error> refused(std::string why) { return fail(ErrorCode::kInvalidArgument, std::move(why)); }

/// Reads the parser's events and builds nothing, so that a text that is refused takes no memory.
class Checker : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Checker(int deepest) : deepest_(deepest) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(std::size_t) override { return ++depth_ <= deepest_; }
  bool start_array(std::size_t) override { return ++depth_ <= deepest_; }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception& error) override {
    wrong_byte_ = byte;
    is_out_of_range_ = dynamic_cast<const nlohmann::json::out_of_range*>(&error) != nullptr;
    return false;
  }

  [[nodiscard]] Status verdict(std::string_view text) const {
    if (depth_ > deepest_) return refused(fmt::format("is nested more than {} levels deep", deepest_));
    const std::string place = place_of(text, wrong_byte_);
    if (is_out_of_range_) return refused(fmt::format("holds a number that is out of range, at {}", place));
    return refused(fmt::format("is no JSON from {} on", place));
  }

 private:
  bool leave() {
    --depth_;
    return true;
  }

  const int deepest_;
  int depth_ = 0;
  std::size_t wrong_byte_ = 0;
  bool is_out_of_range_ = false;
};

template <typename Json>
Result<Json> parse(std::string_view text, int deepest) {
  Checker checker(deepest);
  if (!nlohmann::json::sax_parse(text, &checker)) {
    if (Status verdict = checker.verdict(text); !verdict) return std::unexpected(verdict.error());
  }
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {  // not after the check
    return fail(ErrorCode::kInternal, error.what());
  }
}

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text, int deepest) {
  return parse<nlohmann::json>(text, deepest);
}

Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, int deepest) {
  return parse<nlohmann::ordered_json>(text, deepest);
}

}  // namespace strata

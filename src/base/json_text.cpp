#include "base/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace brimful {
namespace {

/// Describes, for an error message, where the byte with the number `byte` lies in `text`. Bytes count from 1.
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

/// Checks a text by the parser's events and builds no value, so a text that is refused takes no memory.
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
    return refused(fmt::format("is not valid JSON at {}", place));
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

/// Builds a value whose objects keep the order of their members. The library's own builder compares each new
/// name with all earlier names of the object, which takes minutes for an object with 100,000 members.
class OrderedBuilder : public nlohmann::json_sax<nlohmann::ordered_json> {
 public:
  using Json = nlohmann::ordered_json;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& name) override {
    Open& object = open_.back();
    auto& members = members_of(*object.value);
    const auto [place, is_new] = object.places.try_emplace(name, members.size());
    object.next = place->second;
    if (is_new) members.emplace_back(std::move(name), nullptr);
    return true;
  }
  bool start_object(std::size_t) override { return enter(Json::object()); }
  bool start_array(std::size_t) override { return enter(Json::array()); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  [[nodiscard]] Json take() { return std::move(root_); }

 private:
  using Members = std::vector<Json::object_t::value_type>;

  /// An array or object whose end was not read yet. The container that holds it does not grow before that
  /// end, so `value` stays valid.
  struct Open {
    Json* value = nullptr;
    /// The index of the member of an object whose value comes next.
    std::size_t next = 0;
    /// The index of each member of an object, by its name.
    std::unordered_map<std::string, std::size_t> places;
  };

  static Members& members_of(Json& object) { return object.get_ref<Json::object_t&>(); }

  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    const Open& in = open_.back();
    if (in.value->is_array()) {
      in.value->push_back(std::move(value));
      return &in.value->back();
    }
    Json& member = members_of(*in.value)[in.next].second;
    member = std::move(value);  // When a name occurs several times, its last value counts.
    return &member;
  }
  template <typename T>
  bool add(T&& value) {
    place(Json(std::forward<T>(value)));
    return true;
  }
  bool enter(Json empty) {
    open_.push_back({.value = place(std::move(empty)), .places = {}});
    return true;
  }
  bool leave() {
    open_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Open> open_;
};

Status check(std::string_view text, int deepest) {
  Checker checker(deepest);
  return nlohmann::json::sax_parse(text, &checker) ? Status{} : checker.verdict(text);
}

}  // namespace

Result<nlohmann::json> parse_json(std::string_view text, int deepest) {
  BRIMFUL_TRY_VOID(check(text, deepest));
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {  // This cannot happen to a text that passed the check.
    return fail(ErrorCode::kInternal, error.what());
  }
}

Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, int deepest) {
  BRIMFUL_TRY_VOID(check(text, deepest));
  OrderedBuilder builder;
  if (!nlohmann::ordered_json::sax_parse(text, &builder))  // This cannot happen after the check.
    return fail(ErrorCode::kInternal, "a JSON text is read in two ways");
  return builder.take();
}

}  // namespace brimful

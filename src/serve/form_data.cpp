#include "serve/form_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/http_message.h"

namespace brimful::serve {
namespace {

constexpr std::size_t kLongestFields = 8 * 1024;  // The most bytes of the header fields of one part.
constexpr std::size_t kMostParts = 64;

std::unexpected<Error> no_form(const char* why) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("the body is not a multipart form: {}", why));
}

/// Removes a word or a quoted text from the beginning of `rest`, and returns it without the quotes.
std::string take_value(std::string_view& rest) {
  std::string out;
  if (!rest.starts_with('"')) {
    const std::size_t end = std::min(rest.find_first_of("; \t"), rest.size());
    out = rest.substr(0, end);
    rest.remove_prefix(end);
    return out;
  }
  std::size_t i = 1;
  for (; i < rest.size() && rest[i] != '"'; ++i) {
    if (rest[i] == '\\' && i + 1 < rest.size() && (rest[i + 1] == '"' || rest[i + 1] == '\\')) ++i;
    out += rest[i];
  }
  rest.remove_prefix(std::min(i + 1, rest.size()));
  return out;
}

}  // namespace

std::optional<std::string> parameter_of(std::string_view value, std::string_view name) {
  std::string_view rest = value.substr(std::min(value.find(';'), value.size()));
  while (!rest.empty()) {
    rest.remove_prefix(std::min(rest.find_first_not_of("; \t"), rest.size()));
    const std::size_t end = std::min(rest.find_first_of("=;"), rest.size());
    const std::string found = lower_case(rest.substr(0, end));
    rest.remove_prefix(end);
    if (!rest.starts_with('=')) continue;
    rest.remove_prefix(1);
    std::string text = take_value(rest);
    if (found == name) return text;
    rest.remove_prefix(std::min(rest.find(';'), rest.size()));
  }
  return std::nullopt;
}

Status FormData::take(std::string_view bytes) {
  if (state_ == State::kEnd) return {};  // Bytes after the last boundary mean nothing.
  rest_ += bytes;
  for (;;) {
    BRIMFUL_TRY(const bool goes_on, step());
    if (!goes_on) return {};
  }
}

/// Reads as far as possible in the current state. Returns false when more bytes are needed, or when nothing
/// more counts.
Result<bool> FormData::step() {
  switch (state_) {
    case State::kBefore:
    case State::kContent: return read_content();
    case State::kBoundary: return read_boundary();
    case State::kFields: return read_fields();
    case State::kEnd: break;
  }
  rest_.clear();
  return false;
}

Result<bool> FormData::read_content() {
  const std::size_t found = rest_.find(delimiter_);
  const bool has_boundary = found != std::string::npos;
  // The last bytes may be the beginning of a boundary.
  const std::size_t size =
      has_boundary ? found : rest_.size() - std::min(rest_.size(), delimiter_.size() - 1);
  if (state_ == State::kContent && size > 0)
    BRIMFUL_TRY_VOID(on_content_(part_, std::string_view(rest_).substr(0, size)));
  rest_.erase(0, size + (has_boundary ? delimiter_.size() : 0));
  if (has_boundary) state_ = State::kBoundary;
  return has_boundary;
}

Result<bool> FormData::read_boundary() {
  if (rest_.starts_with("--")) {
    state_ = State::kEnd;
    return true;
  }
  const std::size_t end = rest_.find("\r\n");
  if (end == std::string::npos && rest_.size() <= delimiter_.size() + 256) return false;
  if (end == std::string::npos || rest_.find_first_not_of(" \t") != end)
    return no_form("a boundary is wrong");
  if (++parts_ > kMostParts) return no_form("it has too many parts");
  rest_.erase(0, end);  // The end of the line stays, because a part may have no fields.
  state_ = State::kFields;
  return true;
}

Result<bool> FormData::read_fields() {
  const std::size_t end = rest_.find("\r\n\r\n");
  if (end == std::string::npos && rest_.size() <= kLongestFields) return false;
  if (end > kLongestFields) return no_form("the fields of a part are too long");
  part_ = {};
  std::string_view lines = std::string_view(rest_).substr(0, end);
  while (!lines.empty()) {
    lines.remove_prefix(2);
    const std::string_view line = lines.substr(0, lines.find("\r\n"));
    lines.remove_prefix(line.size());
    const std::size_t colon = std::min(line.find(':'), line.size());
    if (lower_case(line.substr(0, colon)) != "content-disposition") continue;
    part_.name = parameter_of(line, "name").value_or("");
    part_.filename = parameter_of(line, "filename");
  }
  rest_.erase(0, end + 4);
  state_ = State::kContent;
  BRIMFUL_TRY_VOID(on_content_(part_, {}));
  return true;
}

}  // namespace brimful::serve

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::serve {

/// Returns a parameter of a header field's value, such as `boundary` of `multipart/form-data; boundary=x`.
/// The value may be quoted. `name` is in lower case. Nullopt when there is no such parameter. Pure.
[[nodiscard]] std::optional<std::string> parameter_of(std::string_view value, std::string_view name);

/// Reads a body of `multipart/form-data` piece by piece. Besides the piece it holds at most a boundary, or
/// the header fields of one part (8 KiB). Not thread-safe.
class FormData {
 public:
  /// The description of one part.
  struct Part {
    std::string name;
    /// Unset when the part is no file.
    std::optional<std::string> filename;
  };
  /// Takes a piece of a part's content. The first piece of each part is empty. An error ends the reading.
  using OnContent = std::function<Status(const Part& part, std::string_view bytes)>;

  /// `boundary` is the parameter of that name in the field Content-Type.
  FormData(const std::string& boundary, OnContent on_content)
      : delimiter_("\r\n--" + boundary), on_content_(std::move(on_content)), rest_("\r\n") {}

  /// Takes the next bytes of the body. Bytes after the last boundary are ignored.
  /// Errors: kInvalidArgument when the body is no form; those of `on_content`.
  [[nodiscard]] Status take(std::string_view bytes);
  /// Whether the last boundary has arrived.
  [[nodiscard]] bool is_complete() const { return state_ == State::kEnd; }

 private:
  enum class State { kBefore, kContent, kBoundary, kFields, kEnd };

  [[nodiscard]] Result<bool> step();
  [[nodiscard]] Result<bool> read_content();
  [[nodiscard]] Result<bool> read_boundary();
  [[nodiscard]] Result<bool> read_fields();

  const std::string delimiter_;
  const OnContent on_content_;
  // The bytes that have arrived and are not read yet. It starts with a line end, so that a boundary at the
  // very beginning of the body is found, too.
  std::string rest_;
  State state_ = State::kBefore;
  Part part_;
  std::size_t parts_ = 0;
};

}  // namespace brimful::serve

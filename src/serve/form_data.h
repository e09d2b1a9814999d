#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::serve {

/// A parameter of a field's value, such as `boundary` of `multipart/form-data; boundary=x`, quoted or not.
/// `name` in lower case. Unset where there is none.
[[nodiscard]] std::optional<std::string> parameter_of(std::string_view value, std::string_view name);

/// Reads a body of `multipart/form-data` piece by piece, and holds no more of it than a line. Threading:
/// none.
class FormData {
 public:
  struct Part {
    std::string name;
    std::optional<std::string> filename;
  };
  using OnContent = std::function<Status(const Part& part, std::string_view bytes)>;

  /// `on_content` gets the content of each part in pieces, at first an empty one. `boundary`: of the field
  /// Content-Type.
  FormData(const std::string& boundary, OnContent on_content)
      : delimiter_("\r\n--" + boundary), on_content_(std::move(on_content)), rest_("\r\n") {}

  /// Errors: kInvalidArgument for what is no form; those of `on_content`.
  [[nodiscard]] Status take(std::string_view bytes);
  /// Whether the last boundary has come.
  [[nodiscard]] bool is_complete() const { return state_ == State::kEnd; }

 private:
  enum class State { kBefore, kContent, kBoundary, kFields, kEnd };

  [[nodiscard]] Result<bool> step();
  [[nodiscard]] Result<bool> read_content();
  [[nodiscard]] Result<bool> read_boundary();
  [[nodiscard]] Result<bool> read_fields();

  const std::string delimiter_;
  const OnContent on_content_;
  std::string rest_;  // what came and is not read yet; a boundary at the very beginning is one, too
  State state_ = State::kBefore;
  Part part_;
  std::size_t parts_ = 0;
};

}  // namespace brimful::serve

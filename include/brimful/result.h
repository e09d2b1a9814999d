#pragma once

#include <brimful/export.h>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace brimful {

/// The kinds of errors that input, files, memory and devices can cause. The set is closed: callers may switch
/// over it. kInfeasible and kBudgetExceeded always mean that something does not fit. If the library cannot find
/// out whether it fits, it returns another code, such as kIo.
enum class ErrorCode {
  kInvalidArgument,  ///< An argument, or what a user asked for, is invalid.
  kNotFound,         ///< A file, a device or a name does not exist.
  kUnsupported,      ///< The request is understood, but this build or this machine cannot do it.
  kCorrupt,          ///< The input breaks the rules of its own format.
  kIo,               ///< A read or a write of the operating system failed.
  kNoSpace,          ///< The disk is full.
  kBudgetExceeded,   ///< Memory was needed, at a start or later, that the budget of RAM or of a GPU does not have.
  kInfeasible,       ///< No plan fits the budgets.
  kDeviceLost,       ///< A device stopped answering.
  kCancelled,        ///< The caller stopped the work.
  kInternal,         ///< A library that Brimful uses failed without a reason.
};

/// The name of the code, such as `budget exceeded`. The text lives as long as the program.
[[nodiscard]] BRIMFUL_API std::string_view to_string(ErrorCode code);

/// Why something failed. `message` is one line of text for the user, without a newline: it says what happened,
/// where, and what to do about it.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message{};
};

/// A value, or an Error.
template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

/// Makes an error that a function with the return type Result returns.
[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

}  // namespace brimful

#pragma once

#include <brimful/export.h>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace brimful {

/// The kinds of errors that the outside world can cause: input, files, memory, devices. The set is closed:
/// callers may switch over it. "Does not fit" (kInfeasible, kBudgetExceeded) is never "could not find out"
/// (kIo, kUnsupported and the others).
enum class ErrorCode {
  kInvalidArgument,  ///< What the caller or a user asked for makes no sense.
  kNotFound,         ///< A file, a device or a name does not exist.
  kUnsupported,      ///< The request is understood, but this build or this machine cannot do it.
  kCorrupt,          ///< The input breaks the rules of its own format.
  kIo,               ///< The operating system failed a read or a write.
  kNoSpace,          ///< A write found no room on the disk.
  kBudgetExceeded,   ///< A pool refused to reserve more bytes than its budget has.
  kInfeasible,       ///< No plan fits the budgets.
  kDeviceLost,       ///< A device stopped answering.
  kCancelled,        ///< The caller stopped the work.
  kInternal,         ///< A library refused without saying why.
};

/// The name of the code, such as `budget exceeded`. The text lives as long as the program.
[[nodiscard]] BRIMFUL_API std::string_view to_string(ErrorCode code);

/// Why something failed. `message` is one line for a person, without a newline: it says what happened, where,
/// and what to do about it.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message{};
};

/// A value, or why there is none.
template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

/// Makes the error that a function with a Result returns.
[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

}  // namespace brimful

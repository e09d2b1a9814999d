#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace brimful {

/// Everything the outside world can cause. A closed set: callers may switch over it.
/// "Does not fit" (kInfeasible, kBudgetExceeded) is not "could not find out" (kIo, kUnsupported, ...).
enum class ErrorCode {
  kInvalidArgument,  ///< what the user asked for makes no sense
  kNotFound,         ///< a file or a name that is not there
  kUnsupported,      ///< understood, but this build or machine cannot do it
  kCorrupt,          ///< input that breaks its own format
  kIo,               ///< the operating system failed a read or a write
  kNoSpace,          ///< a write found no room on the disk
  kBudgetExceeded,   ///< a reservation was refused by its pool
  kInfeasible,       ///< no plan fits the budgets
  kDeviceLost,       ///< a device stopped answering
  kCancelled,        ///< the user or the caller stopped it
  kInternal,         ///< a library refused without saying why
};

[[nodiscard]] std::string_view to_string(ErrorCode code);

/// One line for a person: what, where, and what to do about it. No trailing newline.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

}  // namespace brimful

/// `BRIMFUL_TRY(auto x, f());` returns f's error to the caller, or binds its value.
#define BRIMFUL_TRY_CONCAT_(a, b) a##b
#define BRIMFUL_TRY_NAME_(line) BRIMFUL_TRY_CONCAT_(brimful_try_, line)
#define BRIMFUL_TRY(decl, expr)                                                                             \
  auto BRIMFUL_TRY_NAME_(__LINE__) = (expr);                                                                \
  if (!BRIMFUL_TRY_NAME_(__LINE__)) return std::unexpected(std::move(BRIMFUL_TRY_NAME_(__LINE__)).error()); \
  decl = std::move(*BRIMFUL_TRY_NAME_(__LINE__))

/// The same for a Status.
#define BRIMFUL_TRY_VOID(expr)                                                              \
  do {                                                                                      \
    auto brimful_try_status = (expr);                                                       \
    if (!brimful_try_status) return std::unexpected(std::move(brimful_try_status).error()); \
  } while (0)

#include "cli/own_process.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <exception>

#include "hardware/child_process.h"

namespace brimful::cli {
namespace {

constexpr char kSuccess = 'y';
// A download may take weeks.
constexpr std::chrono::hours kLimit{24 * 365};

/// The result as a text: a letter for success, or one for the code of the error, and then the text.
std::string packed(const std::function<Result<std::string>()>& work) {
  try {
    const Result<std::string> result = work();
    if (result) return kSuccess + *result;
    return static_cast<char>('A' + static_cast<int>(result.error().code)) + result.error().message;
  } catch (const std::exception& error) {  // A library threw; the other process says it in one line.
    return static_cast<char>('A' + static_cast<int>(ErrorCode::kInternal)) +
           fmt::format("unexpected error: {}", error.what());
  }
}

}  // namespace

Result<std::string> in_own_process(const std::function<Result<std::string>()>& work) {
  const hardware::ChildEnd end =
      hardware::run_in_child([&] { return packed(work); }, kLimit, hardware::ChildStreams::kShared);
  if (end.how == hardware::ChildEnd::How::kNotStarted)
    return fail(ErrorCode::kIo, fmt::format("no process can be started: {}", std::strerror(end.error)));
  if (end.how != hardware::ChildEnd::How::kReturned || end.text.empty())
    return fail(ErrorCode::kCancelled, "the download was interrupted; what was fetched stays");
  if (end.text.front() == kSuccess) return end.text.substr(1);
  return fail(static_cast<ErrorCode>(end.text.front() - 'A'), end.text.substr(1));
}

}  // namespace brimful::cli

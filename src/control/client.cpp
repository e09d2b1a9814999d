#include "control/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/json_text.h"
#include "control/connection.h"
#include "control/socket_folder.h"

namespace brimful::control {
namespace {

// The longest wait for a process that is stopped while many others wait for it.
constexpr std::chrono::seconds kToConnect{2};

/// Connects to the socket at `path`. When nobody listens there, the socket is removed, and the error is
/// kNotFound.
Result<Descriptor> connect(const std::filesystem::path& path, pid_t pid) {
  sockaddr_un address{};
  BRIMFUL_TRY_VOID(fill_address(path, address));
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{kToConnect.count(), 0};
  if (socket) ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (socket && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return socket;
  const int why = errno;
  if (why == ECONNREFUSED) ::unlink(path.c_str());
  if (why == ECONNREFUSED || why == ENOENT)
    return fail(
        ErrorCode::kNotFound,
        fmt::format(
            "process {} is not a brimful process of this user that runs a model: brimful ctl lists those",
            pid));
  if (why == EAGAIN)
    return fail(ErrorCode::kIo, fmt::format("process {} accepts no requests: is it stopped?", pid));
  return fail(ErrorCode::kIo, fmt::format("{}: {}", path.string(), std::strerror(why)));
}

}  // namespace

Result<std::vector<pid_t>> running() {
  BRIMFUL_TRY(const std::filesystem::path folder, socket_folder());
  std::vector<pid_t> out = sockets_in(folder);
  std::erase_if(out, [&](pid_t pid) {
    const auto connected = connect(socket_path(folder, pid), pid);
    return !connected && connected.error().code == ErrorCode::kNotFound;
  });
  return out;
}

Result<nlohmann::json> ask(pid_t pid, const nlohmann::json& request, std::chrono::milliseconds limit) {
  BRIMFUL_TRY(const std::filesystem::path folder, socket_folder());
  BRIMFUL_TRY(const Descriptor socket, connect(socket_path(folder, pid), pid));
  const auto begin = std::chrono::steady_clock::now();
  const auto silent = [&] {
    if (std::chrono::steady_clock::now() - begin < limit)
      return fail(ErrorCode::kIo, fmt::format("process {} ended before it answered", pid));
    return fail(ErrorCode::kIo, fmt::format("process {} did not answer within {} s: is it stopped?", pid,
                                            std::chrono::ceil<std::chrono::seconds>(limit).count()));
  };
  if (!send_line(socket.get(), request.dump(), limit)) return silent();
  const auto line = receive_line(socket.get(), kLongestAnswer, limit);
  if (!line) return silent();
  auto parsed = parse_json(*line);
  if (!parsed || !parsed->is_object())
    return fail(ErrorCode::kIo, fmt::format("process {} gave an answer that cannot be read", pid));
  nlohmann::json answer = std::move(*parsed);
  if (!answer.contains("error")) return answer;
  ErrorCode code = ErrorCode::kIo;
  for (const ErrorCode one : {ErrorCode::kInfeasible, ErrorCode::kInvalidArgument}) {
    if (answer.value("code", "") == to_string(one)) code = one;
  }
  return fail(code,
              answer["error"].is_string() ? answer["error"].get<std::string>() : answer["error"].dump());
}

}  // namespace brimful::control

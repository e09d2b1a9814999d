#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "hub/http.h"

namespace brimful::hub {

/// What a server must answer for a file.
struct ExpectedFile {
  std::string url;
  std::string hash;
  std::uint64_t size = 0;
};

/// Reads a part of a file from a server, in order, over as many connections as it takes. Not thread-safe.
class RangeReader {
 public:
  /// Takes the next bytes. Returns whether it wants more.
  using Take = std::function<Result<bool>(std::span<const std::byte>)>;
  /// Waits before the next attempt. Returns true when the work is to end.
  using Pause = std::function<bool(std::chrono::milliseconds)>;

  RangeReader(Http& http, const ExpectedFile& file, Pause pause)
      : http_(http), file_(file), pause_(std::move(pause)) {}

  /// Reads the bytes from `begin` up to `end`. Ends without an error when `take` wants no more bytes or
  /// the pause says so. A connection that breaks or sends something else than the file is made again, several
  /// times, and continues after the bytes that were taken.
  /// Errors: those of `take` and Http::get; kIo when the server sends another file.
  [[nodiscard]] Status read(std::uint64_t begin, std::uint64_t end, const Take& take);

 private:
  [[nodiscard]] std::string unfit(const Answer& answer, std::uint64_t at) const;

  Http& http_;
  const ExpectedFile& file_;
  Pause pause_;
};

}  // namespace brimful::hub

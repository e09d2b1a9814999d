#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "hub/http.h"
#include "model/gguf_reader.h"

namespace brimful::hub {

/// Puts a GGUF header together from the answers to one or several requests, and says how much of the file is
/// still needed. It does no I/O itself. After an error it takes no more bytes. Not thread-safe.
class HeaderReceiver {
 public:
  /// The size of the first request in bytes.
  static constexpr std::uint64_t kFirstRequest = 1024 * 1024;

  /// The range of the file to ask for next. Requires: !is_done().
  [[nodiscard]] ByteRange wanted() const { return {bytes_.size(), wanted_ - bytes_.size()}; }

  /// Announces an answer. The caller calls this before each request.
  void begin_answer();
  /// Takes the next bytes of an answer. Returns false when no more bytes are needed: the header is complete,
  /// or there is an error.
  bool take(const Answer& answer, std::span<const std::byte> bytes);
  /// Ends an answer. The caller calls this when a transfer ended without an error. An answer that is shorter
  /// than the request tells the size of the file.
  void end_answer(const Answer& answer);

  /// The number of bytes that were received so far, from the start of the file.
  [[nodiscard]] std::uint64_t received() const { return bytes_.size(); }
  /// Whether the header is complete.
  [[nodiscard]] bool is_done() const { return header_.has_value(); }
  /// The error, if there was one. Its message does not name the file.
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  /// The bytes of the header, padding included. Requires: is_done(). Lifetime: that of this object.
  [[nodiscard]] std::span<const std::byte> header() const;

 private:
  void place(const Answer& answer);
  void parse();
  void refuse(ErrorCode code, std::string message);

  std::vector<std::byte> bytes_;
  // How many of the file's first bytes are needed.
  std::uint64_t wanted_ = kFirstRequest;
  // The value of wanted_ when the current answer began.
  std::uint64_t asked_ = 0;
  // The size of the file, once it is known.
  std::optional<std::uint64_t> total_;
  std::optional<model::GgufHeader> header_;
  std::optional<Error> error_;
  // Whether the next bytes are the first ones of an answer.
  bool at_begin_ = true;
};

}  // namespace brimful::hub

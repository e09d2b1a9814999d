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

/// Puts a header together from one or several answers, and knows how much of the file is still needed.
/// No I/O. After a failure it stays failed.
class HeaderReceiver {
 public:
  static constexpr std::uint64_t kFirstRequest = 1024 * 1024;

  /// The range to ask for next. Requires: !is_done().
  [[nodiscard]] ByteRange wanted() const { return {bytes_.size(), wanted_ - bytes_.size()}; }

  /// To be called before each request.
  void begin_answer();
  /// Bytes of the answer; false where no more are wanted, or ever will be.
  bool take(const Answer& answer, std::span<const std::byte> bytes);
  /// To be called where an answer came to its end: where it is short of what was asked for, the file ends.
  void end_answer(const Answer& answer);

  [[nodiscard]] std::uint64_t received() const { return bytes_.size(); }
  [[nodiscard]] bool is_done() const { return header_.has_value(); }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }  ///< does not name the file
  /// The header's bytes, padding included. Requires: is_done().
  [[nodiscard]] std::span<const std::byte> header() const;

 private:
  void place(const Answer& answer);
  void parse();
  void refuse(ErrorCode code, std::string message);

  std::vector<std::byte> bytes_;
  std::uint64_t wanted_ = kFirstRequest;  // of the file's first bytes
  std::uint64_t asked_ = 0;               // wanted_ when the answer began
  std::optional<std::uint64_t> total_;
  std::optional<model::GgufHeader> header_;
  std::optional<Error> error_;
  bool at_begin_ = true;
};

}  // namespace brimful::hub

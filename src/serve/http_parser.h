#pragma once

#include <expected>
#include <memory>
#include <string>

#include "serve/http_message.h"

namespace brimful::serve {

/// The reason why a text is no request, with the status for the answer. The connection cannot be used after
/// it, because nobody knows where the next request begins.
struct HttpProblem {
  int status = 400;
  std::string why;
};

/// A strict parser for one request of HTTP/1.0 or 1.1: it refuses everything that two programs could
/// understand in two ways. Not thread-safe.
class HttpParser {
 public:
  // The limits on the head with its first line, in bytes, on a line of it, in bytes, and on the number of
  // fields.
  static constexpr std::size_t kLongestHead = 16 * 1024;
  static constexpr std::size_t kLongestLine = 8 * 1024;
  static constexpr std::size_t kMostFields = 100;

  HttpParser();
  ~HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  /// Returns true when `received` holds the whole head, which is then removed from it. While it returns
  /// false, the caller adds bytes to the same text and calls again.
  [[nodiscard]] std::expected<bool, HttpProblem> read_head(std::string& received);
  /// The head. It is complete once read_head() has returned true.
  [[nodiscard]] const HttpRequest& request() const { return request_; }

  /// Removes as much of the body as possible from `received`, and adds the decoded content to `content`.
  /// When it removes nothing, it needs more bytes. Requires: read_head() returned true.
  [[nodiscard]] std::expected<void, HttpProblem> read_body(std::string& received, std::string& content);
  /// Whether the whole request was read.
  [[nodiscard]] bool is_complete() const;

 private:
  struct Parser;

  [[nodiscard]] std::expected<std::size_t, HttpProblem> find_end(const std::string& received);
  [[nodiscard]] std::expected<void, HttpProblem> check_framing() const;
  [[nodiscard]] std::expected<void, HttpProblem> read_target(std::string_view target);
  void copy_fields();

  const std::unique_ptr<Parser> parser_;
  HttpRequest request_;
  std::size_t scanned_ = 0;  // The number of bytes of the head that find_end() has seen.
  std::size_t line_ = 0;     // The position at which the current line begins.
  std::size_t lines_ = 0;    // The number of complete lines.
};

}  // namespace brimful::serve

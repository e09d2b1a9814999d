#pragma once

#include <expected>
#include <memory>
#include <string>

#include "serve/http_message.h"

namespace brimful::serve {

/// Why a text is no request. Whatever follows it on the connection cannot be understood, either.
struct HttpProblem {
  int status = 400;
  std::string why;
};

/// Reads one request of HTTP/1.0 or 1.1, strictly: what two programs could read in two ways is refused.
/// Threading: none.
class HttpParser {
 public:
  static constexpr std::size_t kLongestHead = 16 * 1024;  ///< bytes, with the line of the request
  static constexpr std::size_t kLongestLine = 8 * 1024;   ///< bytes, of one line of the head
  static constexpr std::size_t kMostFields = 100;

  HttpParser();
  ~HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  /// Returns whether `received` holds all of the head, and then takes it out. Until then, the caller adds
  /// bytes to the same text and calls again.
  [[nodiscard]] std::expected<bool, HttpProblem> read_head(std::string& received);
  /// Requires: read_head() returned true.
  [[nodiscard]] const HttpRequest& request() const { return request_; }

  /// Takes what it can of the body out of `received`, and adds its content to `content`. Where it took
  /// nothing, it needs more bytes.
  [[nodiscard]] std::expected<void, HttpProblem> read_body(std::string& received, std::string& content);
  [[nodiscard]] bool is_complete() const;

 private:
  struct Parser;

  [[nodiscard]] std::expected<std::size_t, HttpProblem> find_end(const std::string& received);
  [[nodiscard]] std::expected<void, HttpProblem> check_framing() const;
  [[nodiscard]] std::expected<void, HttpProblem> read_target(std::string_view target);
  void copy_fields();

  const std::unique_ptr<Parser> parser_;
  HttpRequest request_;
  std::size_t scanned_ = 0;  // bytes of the head that find_end() has seen
  std::size_t line_ = 0;     // where the line that it is in begins
  std::size_t lines_ = 0;    // complete lines
};

}  // namespace brimful::serve

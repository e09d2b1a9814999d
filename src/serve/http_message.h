#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace brimful::serve {

/// Names and values, in their order.
using HttpFields = std::vector<std::pair<std::string, std::string>>;

/// The head of a request, as the parser read it. The client chose every text in it, so none of them can be
/// trusted.
struct HttpRequest {
  /// The method in upper case, such as `GET`.
  std::string method;
  /// The path, percent-decoded and without the query. It begins with `/`, or is `*` for OPTIONS.
  std::string path;
  /// The parameters of the query, decoded, in the order in which the client sent them.
  HttpFields query;
  /// The header fields with names in lower case, in the order in which the client sent them.
  HttpFields fields;
  /// The host that the target names, else the field Host; empty when the client sent none.
  std::string host;
  /// Whether the version is HTTP/1.1; otherwise it is HTTP/1.0.
  bool is_http_1_1 = true;
  /// Whether the client wants to send further requests over this connection.
  bool keep_alive = true;
  bool has_body = false;
  /// The size of the body in bytes. Unset when the body comes in chunks, and when there is none.
  std::optional<std::uint64_t> body_size;

  /// The value of the first field with that name (in lower case); empty when there is none.
  [[nodiscard]] std::string_view field(std::string_view name) const;
  /// The value of a parameter of the query; nullopt when there is none.
  [[nodiscard]] std::optional<std::string_view> parameter(std::string_view name) const;
  /// The type of the body without its parameters, in lower case, such as `application/json`.
  [[nodiscard]] std::string content_type() const;
};

class HttpSource;

/// An answer to a request.
struct HttpResponse {
  int status = 200;
  /// The header fields, without those that the server writes itself: Date, Content-Length,
  /// Transfer-Encoding, Connection.
  HttpFields fields;
  std::string body;
  /// Makes the body part by part; `body` is empty then. Null: the body is `body`.
  std::shared_ptr<HttpSource> source;
  /// The number of bytes that `source` makes. Unset when it is not known.
  std::optional<std::uint64_t> length;
  /// Whether the connection ends with this answer.
  bool close = false;

  void set(std::string name, std::string value) { fields.emplace_back(std::move(name), std::move(value)); }
};

/// Makes the body of an answer that is not complete yet, or that does not fit into memory.
/// Threading: the server calls one function at a time: next() on a worker thread, the others on its I/O
/// thread.
class HttpSource {
 public:
  virtual ~HttpSource() = default;

  /// Gives the source a function to call, from any thread, when next() has something new. The source must
  /// not call `wake` after leave() has returned. The server calls this once, before next().
  // NOLINTNEXTLINE(performance-unnecessary-value-param): a source that overrides this keeps the function.
  virtual void watch(std::function<void()> /*wake*/) {}

  /// A part of the answer.
  struct Part {
    /// A whole answer in place of the source's, such as an error. It may be set only before any bytes.
    std::optional<HttpResponse> whole;
    /// The next bytes of the body. The head of the answer is sent together with the first ones.
    std::string bytes;
    /// Whether the body is complete.
    bool ends = false;
    /// The server calls next() again after this time, or earlier when `wake` is called.
    std::chrono::milliseconds patience{0};
  };
  /// Returns the part that is ready, which may be empty. Does not wait for more.
  [[nodiscard]] virtual Part next() = 0;

  /// Whether next() reads files. It runs on the threads of Lane::kFiles then.
  [[nodiscard]] virtual bool waits_for_disk() const { return false; }

  /// Says that the client has disconnected or has the whole answer. The server calls this once, and next()
  /// no more.
  virtual void leave() {}
};

/// The work of answering one request.
class HttpTask {
 public:
  virtual ~HttpTask() = default;
  /// Takes a piece of the body. When it returns a response, the server sends it and reads no more of the
  /// body.
  [[nodiscard]] virtual std::optional<HttpResponse> take(std::string_view piece) {
    (void)piece;
    return std::nullopt;
  }
  /// Called once on the I/O thread when the body is complete.
  virtual void body_is_complete() {}
  /// Makes the answer. Called once after body_is_complete(), as soon as a thread of the lane is free.
  [[nodiscard]] virtual HttpResponse answer() = 0;
};

/// Decodes percent-encoding: `%41` becomes `A`. With `plus`, `+` becomes a space. Nullopt when the encoding
/// is wrong.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text, bool plus = false);

/// Returns the text in lower case. Only ASCII letters change.
[[nodiscard]] std::string lower_case(std::string_view text);

}  // namespace brimful::serve

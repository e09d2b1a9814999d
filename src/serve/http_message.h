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

using HttpFields = std::vector<std::pair<std::string, std::string>>;

/// The head of a request, as its parser read it. Every text is what the client sent: trust none of it.
struct HttpRequest {
  std::string method;  ///< upper case, such as `GET`
  std::string path;    ///< percent-decoded, without the query; it begins with `/`
  HttpFields query;    ///< decoded, in the order in which the client sent it
  HttpFields fields;   ///< names in lower case, in the order in which the client sent them
  std::string host;  ///< of the field Host, or of the target where it names one; empty: the client sent none
  bool is_http_1_1 = true;
  bool keep_alive = true;  ///< the client wants to send more requests over this connection
  bool has_body = false;
  std::optional<std::uint64_t> body_size;  ///< bytes; unset: the body comes in chunks, or there is none

  /// The first field of that name (in lower case); empty where there is none.
  [[nodiscard]] std::string_view field(std::string_view name) const;
  /// A parameter of the query; unset where there is none.
  [[nodiscard]] std::optional<std::string_view> parameter(std::string_view name) const;
  /// The type of the body without its parameters, in lower case, such as `application/json`.
  [[nodiscard]] std::string content_type() const;
};

class HttpSource;

struct HttpResponse {
  int status = 200;
  HttpFields fields;  ///< without those that the server writes: Content-Length, Transfer-Encoding, Connection
  std::string body;
  std::shared_ptr<HttpSource> source;   ///< makes the body part by part; then `body` is empty
  std::optional<std::uint64_t> length;  ///< bytes that `source` makes; unset: nobody knows
  bool close = false;                   ///< the connection ends with this answer

  void set(std::string name, std::string value) { fields.emplace_back(std::move(name), std::move(value)); }
};

/// Makes an answer that is not there yet, or that does not fit into memory. Threading: the server calls one
/// function at a time, next() on a worker thread and the others on its I/O thread.
class HttpSource {
 public:
  virtual ~HttpSource() = default;

  /// The server calls it once, before next(). Any thread may call `wake` when there is something new, until
  /// leave() returns.
  virtual void watch(std::function<void()> wake) { (void)wake; }

  struct Part {
    std::optional<HttpResponse> whole;  ///< this is the answer; only before any bytes
    std::string bytes;                  ///< more of the body; the first ones send the head
    bool ends = false;                  ///< the body is complete
    std::chrono::milliseconds patience{
        0};  ///< the server calls next() again when that is over or `wake` is called
  };
  /// Returns what is there, and never waits for more.
  [[nodiscard]] virtual Part next() = 0;

  /// Whether next() reads files: then it runs where others wait for the disk, too.
  [[nodiscard]] virtual bool waits_for_disk() const { return false; }

  /// The client has gone, or has everything. The server calls it once, and next() no more.
  virtual void leave() {}
};

/// What one request asks for.
class HttpTask {
 public:
  virtual ~HttpTask() = default;
  /// Takes more of the body. A response ends the request: the server sends it and reads no more of the body.
  [[nodiscard]] virtual std::optional<HttpResponse> take(std::string_view piece) {
    (void)piece;
    return std::nullopt;
  }
  /// The server calls it once on its I/O thread, when the body is complete.
  virtual void body_is_complete() {}
  /// The server calls it once, then, as soon as a thread is free for it.
  [[nodiscard]] virtual HttpResponse answer() = 0;
};

/// `%41` becomes `A`. Unset where the text is not percent-encoded right. `plus`: `+` means a space.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text, bool plus = false);

/// ASCII letters only.
[[nodiscard]] std::string lower_case(std::string_view text);

}  // namespace brimful::serve

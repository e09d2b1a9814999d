#include "serve/http_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <charconv>

namespace brimful::serve {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::array kMethods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

std::unexpected<HttpProblem> refuse(int status, std::string why) {
  return std::unexpected(HttpProblem{status, std::move(why)});
}

std::string_view text_of(boost::beast::string_view text) { return {text.data(), text.size()}; }

/// Returns whether a first line ends with a well-formed version of HTTP that this parser does not read.
bool has_other_version(std::string_view line) {
  const std::size_t at = line.rfind(" HTTP/");
  if (at == std::string_view::npos) return false;
  const std::string_view version = line.substr(at + 6);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (version == "1.0" || version == "1.1") return false;
  return version == "2" || version == "3" ||
         (version.size() == 3 && is_digit(version[0]) && version[1] == '.' && is_digit(version[2]));
}

}  // namespace

struct HttpParser::Parser : http::request_parser<http::buffer_body> {};

HttpParser::HttpParser() : parser_(std::make_unique<Parser>()) {
  parser_->header_limit(static_cast<std::uint32_t>(kLongestHead));
  parser_->body_limit(UINT64_MAX);  // The caller counts the bytes of the body.
}
HttpParser::~HttpParser() = default;

/// Returns the size of the head in bytes, or 0 when it is not complete. A byte that no head may hold is
/// refused as soon as it arrives.
std::expected<std::size_t, HttpProblem> HttpParser::find_end(const std::string& received) {
  for (; scanned_ < received.size(); ++scanned_) {
    const char c = received[scanned_];
    const bool after_return = scanned_ > 0 && received[scanned_ - 1] == '\r';
    if (c == '\0') return refuse(400, "the header of the request contains a zero byte");
    if (after_return != (c == '\n')) return refuse(400, "a line of the header does not end with CR LF");
    if (scanned_ - line_ > kLongestLine)
      return refuse(lines_ == 0 ? 414 : 431,
                    fmt::format("a line of the header is longer than {} bytes", kLongestLine));
    if (scanned_ == line_ && lines_ > 0 && (c == ' ' || c == '\t'))
      return refuse(400, "a header field is folded over two lines");
    if (c != '\n') continue;
    if (scanned_ - line_ == 1) return ++scanned_;  // An empty line ends the head.
    if (++lines_ > kMostFields + 1)
      return refuse(431, fmt::format("the header has more than {} fields", kMostFields));
    line_ = scanned_ + 1;
  }
  if (scanned_ >= kLongestHead)
    return refuse(lines_ == 0 ? 414 : 431, fmt::format("the header is longer than {} bytes", kLongestHead));
  return 0;
}

std::expected<bool, HttpProblem> HttpParser::read_head(std::string& received) {
  if (scanned_ == 0) {
    while (received.starts_with("\r\n"))
      received.erase(0, 2);  // RFC 9112, 2.2 allows empty lines before a request.
    if (received == "\r") return false;
  }
  const auto size = find_end(received);
  if (!size) return std::unexpected(size.error());
  if (*size == 0) return false;
  if (has_other_version(std::string_view(received).substr(0, received.find('\r'))))
    return refuse(505, "only HTTP/1.0 and HTTP/1.1 are supported");
  error_code error;
  const std::size_t used = parser_->put({received.data(), *size}, error);
  if (!error && used != *size) return refuse(400, "the header of the request cannot be parsed");
  if (error)
    return refuse(400, fmt::format("the header of the request cannot be parsed: {}", error.message()));
  received.erase(0, used);
  copy_fields();
  if (auto framed = check_framing(); !framed) return std::unexpected(framed.error());
  if (auto read = read_target(text_of(parser_->get().target())); !read) return std::unexpected(read.error());
  parser_->get().clear();  // The fields are in request_ now.
  return true;
}

void HttpParser::copy_fields() {
  const auto& head = parser_->get();
  request_.method = text_of(head.method_string());
  request_.is_http_1_1 = head.version() == 11;
  request_.keep_alive = parser_->keep_alive();
  for (const auto& field : head)
    request_.fields.emplace_back(lower_case(text_of(field.name_string())), text_of(field.value()));
  request_.has_body = !parser_->is_done();
  if (const auto length = parser_->content_length()) request_.body_size = *length;
}

/// Checks the fields on which it depends where the body ends. There must be no doubt about it.
std::expected<void, HttpProblem> HttpParser::check_framing() const {
  const auto count = [&](std::string_view name) {
    return std::ranges::count(request_.fields, name, &HttpFields::value_type::first);
  };
  if (std::ranges::find(kMethods, request_.method) == kMethods.end())
    return refuse(501, fmt::format("the method {} is not supported", request_.method));
  const auto lengths = count("content-length");
  const auto encodings = count("transfer-encoding");
  if (lengths > 1) return refuse(400, "Content-Length appears twice");
  if (lengths > 0 && encodings > 0)
    return refuse(400, "Content-Length and Transfer-Encoding cannot both be present");
  if (lengths > 0 && request_.field("content-length").find_first_not_of("0123456789") != std::string::npos)
    return refuse(400, "Content-Length is not a number");
  if (encodings > 0 && !request_.is_http_1_1) return refuse(400, "HTTP/1.0 has no Transfer-Encoding");
  if (encodings > 1 || (encodings > 0 && lower_case(request_.field("transfer-encoding")) != "chunked"))
    return refuse(501, "Transfer-Encoding must be chunked");
  if (count("host") > 1) return refuse(400, "Host appears twice");
  if (request_.is_http_1_1 && count("host") == 0) return refuse(400, "Host is missing");
  return {};
}

std::expected<void, HttpProblem> HttpParser::read_target(std::string_view target) {
  request_.host = request_.field("host");
  if (const std::size_t scheme = target.find("://");
      !target.starts_with('/') && scheme != std::string_view::npos) {
    const std::size_t path = std::min(target.find_first_of("/?", scheme + 3), target.size());
    // It takes precedence over the field Host (RFC 9112, 3.2.2).
    request_.host = target.substr(scheme + 3, path - scheme - 3);
    target = target.substr(path);
    if (!target.starts_with('/')) target = target.empty() ? "/" : target;
  }
  target = target.substr(0, target.find('#'));
  const std::size_t mark = std::min(target.find('?'), target.size());
  auto path = percent_decoded(target.substr(0, mark));
  if (!path || path->contains('\0')) return refuse(400, "the path has invalid percent-encoding");
  request_.path = std::move(*path);
  const bool is_asterisk = request_.path == "*" && request_.method == "OPTIONS";
  if (!request_.path.starts_with('/') && !is_asterisk) return refuse(400, "the path does not begin with /");
  for (std::string_view rest = target.substr(std::min(mark + 1, target.size())); !rest.empty();) {
    const std::string_view one = rest.substr(0, rest.find('&'));
    rest = rest.substr(std::min(one.size() + 1, rest.size()));
    const std::size_t equals = std::min(one.find('='), one.size());
    auto name = percent_decoded(one.substr(0, equals), true);
    auto value = percent_decoded(one.substr(std::min(equals + 1, one.size())), true);
    if (!name || !value) return refuse(400, "the query has invalid percent-encoding");
    request_.query.emplace_back(std::move(*name), std::move(*value));
  }
  return {};
}

bool HttpParser::is_complete() const { return parser_->is_done(); }

std::expected<void, HttpProblem> HttpParser::read_body(std::string& received, std::string& content) {
  std::size_t used = 0;
  std::size_t filled = content.size();
  content.resize(filled + received.size());  // Decoded bytes are never more than received ones.
  while (!parser_->is_done() && used < received.size()) {
    auto& body = parser_->get().body();
    body.data = content.data() + filled;
    body.size = content.size() - filled;
    body.more = true;
    error_code error;
    const std::size_t some = parser_->put({received.data() + used, received.size() - used}, error);
    filled = content.size() - body.size;
    used += some;
    if (error && error != http::error::need_more && error != http::error::need_buffer)
      return refuse(400, fmt::format("the body of the request cannot be parsed: {}", error.message()));
    if (some == 0) break;
  }
  content.resize(filled);
  received.erase(0, used);
  if (!parser_->is_done() && received.size() >= kLongestHead)
    return refuse(400, "a chunk header of the body is too long");
  return {};
}

}  // namespace brimful::serve

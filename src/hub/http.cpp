#include "hub/http.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "hub/http_errors.h"
#include "hub/http_headers.h"

namespace brimful::hub {
namespace {

constexpr long kSlowestBytesPerSecond = 1024;
constexpr long kMostRedirects = 10;

/// The state of one request.
struct Transfer {
  const Sink& sink;
  Answer answer;
  bool ended_by_us = false;
  std::array<char, CURL_ERROR_SIZE> error{};

  [[nodiscard]] bool is_file() const { return answer.status == 200 || answer.status == 206; }
};

/// Returns the text of an entity tag without its quotes.
std::string unquoted(std::string_view value) {
  if (value.starts_with("W/")) value.remove_prefix(2);
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    value = value.substr(1, value.size() - 2);
  return std::string(value);
}

void read_header(Answer& answer, const std::string& name, std::string_view value) {
  if (name == "content-type") answer.content_type = lower(value);
  if (name == "x-linked-etag") answer.linked_etag = unquoted(value);
  if (name == "link") answer.next_page = next_page(value);
  if (name == "content-length" && answer.status == 200) answer.total = parse_number(value);
  if (name == "content-range" && answer.status == 206) {
    if (const auto range = parse_content_range(value)) {
      answer.first = range->first;
      answer.total = range->total;
    }
  }
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) noexcept {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line = trim({data, size});
  const std::size_t colon = line.find(':');
  if (line.starts_with("HTTP/")) {  // Every answer begins with such a line, also one that redirects.
    std::string linked_etag = std::move(transfer.answer.linked_etag);
    transfer.answer = Answer();
    transfer.answer.linked_etag = std::move(linked_etag);
    transfer.answer.status = parse_status(line);
    if (transfer.answer.status == 200) transfer.answer.first = 0;
  } else if (colon != std::string_view::npos) {
    read_header(transfer.answer, lower(line.substr(0, colon)), trim(line.substr(colon + 1)));
  }
  return size;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) noexcept {
  auto& transfer = *static_cast<Transfer*>(user);
  const bool more =
      transfer.is_file() && transfer.sink(transfer.answer, std::as_bytes(std::span(data, size)));
  transfer.ended_by_us = !more;
  return more ? size : 0;  // With 0, libcurl ends the transfer.
}

}  // namespace

Result<Http> Http::open(Settings settings) {
  BRIMFUL_TRY(const Curl* curl, load_curl());
  Handle handle(curl->easy_init(), Close{curl->easy_cleanup});
  if (!handle) return fail(ErrorCode::kInternal, "libcurl cannot be started");
  Http http(std::move(settings), *curl, std::move(handle));
  BRIMFUL_TRY_VOID(http.prepare());
  return http;
}

Status Http::prepare() {
  const auto connect_ms = static_cast<long>(settings_.connect_limit.count());
  const auto stall_s = static_cast<long>(settings_.stall_limit.count());
  const bool prepared =
      set(CURLOPT_NOSIGNAL, 1L) && set(CURLOPT_PROTOCOLS_STR, "http,https") &&
      set(CURLOPT_FOLLOWLOCATION, 1L) && set(CURLOPT_MAXREDIRS, kMostRedirects) &&
      set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) && set(CURLOPT_USERAGENT, "brimful") &&
      set(CURLOPT_CONNECTTIMEOUT_MS, connect_ms) && set(CURLOPT_LOW_SPEED_LIMIT, kSlowestBytesPerSecond) &&
      set(CURLOPT_LOW_SPEED_TIME, stall_s) && set(CURLOPT_HEADERFUNCTION, &on_header) &&
      set(CURLOPT_WRITEFUNCTION, &on_body) &&
      (settings_.certificates.empty() || set(CURLOPT_CAINFO, settings_.certificates.c_str()));
  if (prepared) return {};
  return fail(ErrorCode::kUnsupported, "libcurl is older than 7.85, or lacks TLS: update it");
}

Status Http::aim(const std::string& url, const std::optional<ByteRange>& range) {
  const bool secure = lower(url.substr(0, 8)) == "https://";
  const bool token = !settings_.token.empty() && settings_.is_hub(url);
  const std::string bytes = range ? fmt::format("{}-{}", range->first, range->first + range->size - 1) : "";
  // Without a text, libcurl reads its variables.
  const std::string proxy = secure ? "" : settings_.http_proxy;
  // libcurl sends a bearer token only to the first host, and copies every text that it is given.
  const bool aimed = set(CURLOPT_URL, url.c_str()) &&
                     set(CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https") &&
                     set(CURLOPT_RANGE, range ? bytes.c_str() : nullptr) &&
                     set(CURLOPT_PROXY, proxy.empty() ? nullptr : proxy.c_str()) &&
                     set(CURLOPT_HTTPAUTH, token ? CURLAUTH_BEARER : CURLAUTH_BASIC) &&
                     set(CURLOPT_XOAUTH2_BEARER, token ? settings_.token.c_str() : nullptr);
  if (aimed) return {};
  return fail(ErrorCode::kUnsupported, "libcurl is older than 7.85: update it");
}

Result<Answer> Http::get(const std::string& url, const std::optional<ByteRange>& range, const Sink& sink) {
  status_ = 0;
  BRIMFUL_TRY_VOID(aim(url, range));
  Transfer transfer{.sink = sink, .answer = {}};
  const bool set_up = set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer)) &&
                      set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer)) &&
                      set(CURLOPT_ERRORBUFFER, transfer.error.data());
  if (!set_up) return fail(ErrorCode::kInternal, "libcurl refuses the settings of a request");
  const CURLcode code = curl_->easy_perform(handle_.get());
  status_ = transfer.answer.status;
  // The buffer belongs to this function.
  static_cast<void>(set(CURLOPT_ERRORBUFFER, static_cast<char*>(nullptr)));
  if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && transfer.ended_by_us)) {
    const char* const why = transfer.error[0] != '\0' ? transfer.error.data() : curl_->easy_strerror(code);
    return std::unexpected(transfer_error(url, code, why));
  }
  if (!transfer.is_file()) return std::unexpected(status_error(url, transfer.answer.status, settings_));
  return std::move(transfer.answer);
}

}  // namespace brimful::hub

#include "hub/range_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "hub/http_headers.h"

namespace brimful::hub {
namespace {

constexpr int kMostFruitless = 5;  // The most attempts in a row that bring no byte.

/// Whether asking again is of no use: the server has understood the request, and refuses it.
bool is_final(int status) { return status >= 400 && status < 500 && status != 408 && status != 429; }

}  // namespace

/// Says why an answer is not the wanted part of the file; empty when it is.
std::string RangeReader::unfit(const Answer& answer, std::uint64_t at) const {
  if (!answer.linked_etag.empty() && answer.linked_etag != file_.hash)
    return "the file has changed on the server: ask again for the new one";
  if (!answer.total) return "the server does not say how large the file is: is there a proxy in between?";
  if (*answer.total != file_.size) {
    return fmt::format(
        "the server has {} bytes in place of {}: has the file changed, or does a proxy answer?",
        *answer.total, file_.size);
  }
  if (!answer.first || *answer.first > at)
    return "the server sent another part of the file than was requested";
  return {};
}

Status RangeReader::read(std::uint64_t begin, std::uint64_t end, const Take& take) {
  int fruitless = 0;
  while (begin < end) {
    std::string wrong;
    std::optional<Error> refused;
    bool enough = false;
    bool first = true;
    std::uint64_t skip = 0;
    const std::uint64_t before = begin;
    const auto answer = http_.get(
        file_.url, ByteRange{begin, end - begin}, [&](const Answer& now, std::span<const std::byte> bytes) {
          if (std::exchange(first, false)) {
            wrong = unfit(now, begin);
            if (!wrong.empty()) return false;
            skip = begin - *now.first;  // A server that ignores ranges starts at the beginning.
          }
          const auto over = static_cast<std::size_t>(std::min<std::uint64_t>(skip, bytes.size()));
          skip -= over;
          bytes = bytes.subspan(over);
          bytes = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), end - begin)));
          if (bytes.empty()) return begin < end;
          const auto more = take(bytes);
          if (!more) {
            refused = more.error();
            return false;
          }
          begin += bytes.size();
          enough = !*more;
          return !enough && begin < end;
        });
    if (refused) return std::unexpected(std::move(*refused));
    if (enough || begin >= end) return {};
    Error error{ErrorCode::kIo, fmt::format("{}: {}", shown(file_.url), wrong)};
    if (!answer) error = answer.error();
    if (answer && wrong.empty()) error.message += "the server sent nothing: try again later";
    if (!answer && is_final(http_.status())) return std::unexpected(std::move(error));
    fruitless = begin > before ? 0 : fruitless + 1;
    if (fruitless > kMostFruitless) return std::unexpected(std::move(error));
    if (fruitless > 0 && pause_(http_.settings().retry_pause * (1 << (fruitless - 1)))) return {};
  }
  return {};
}

}  // namespace brimful::hub

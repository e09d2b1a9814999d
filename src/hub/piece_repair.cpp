#include "hub/piece_repair.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "hub/http_headers.h"

namespace brimful::hub {
namespace {

constexpr std::size_t kSha256Digits = 64;

/// The bytes of a piece, and their sha256.
struct Fetched {
  std::vector<std::byte> bytes;
  std::string hash;
};

Result<Fetched> fetch(RangeReader& reader, const PieceLog& log, std::size_t piece) {
  Fetched out;
  out.bytes.reserve(log.size_of(piece));
  const std::uint64_t begin = log.begin_of(piece);
  BRIMFUL_TRY_VOID(reader.read(begin, begin + log.size_of(piece), [&](std::span<const std::byte> bytes) {
    out.bytes.insert(out.bytes.end(), bytes.begin(), bytes.end());
    return Result<bool>(true);
  }));
  BRIMFUL_TRY(Hasher hasher, Hasher::start());
  hasher.add(out.bytes);
  out.hash = hasher.hex();
  return out;
}

}  // namespace

Result<Hasher> start_file_hash(const std::string& hash, std::uint64_t size) {
  if (hash.size() == kSha256Digits) return Hasher::start();
  BRIMFUL_TRY(Hasher hasher, Hasher::start(Hasher::Kind::kSha1));
  const std::string head = fmt::format("blob {}", size);
  hasher.add(std::as_bytes(std::span(head.c_str(), head.size() + 1)));  // Git's head ends with a zero.
  return hasher;
}

Result<std::size_t> forget_lost_pieces(PieceLog& log, const PartFile& part) {
  std::size_t lost = 0;
  for (std::size_t piece = 0; piece < log.pieces(); ++piece) {
    if (log.hash_of(piece).empty()) continue;
    BRIMFUL_TRY(Hasher hasher, Hasher::start());
    BRIMFUL_TRY_VOID(part.hash(log.begin_of(piece), log.size_of(piece), hasher));
    if (hasher.hex() == log.hash_of(piece)) continue;
    BRIMFUL_TRY_VOID(log.set(piece, ""));
    ++lost;
  }
  return lost;
}

Status replace_wrong_pieces(RangeReader& reader, const ExpectedFile& file, PieceLog& log,
                            const PartFile& part, const std::function<void(std::size_t)>& progress) {
  BRIMFUL_TRY(Hasher before, start_file_hash(file.hash, file.size));  // Of all pieces before the current one.
  for (std::size_t piece = 0; piece < log.pieces(); ++piece) {
    if (progress) progress(piece);
    BRIMFUL_TRY(Fetched again, fetch(reader, log, piece));
    const std::uint64_t begin = log.begin_of(piece);
    if (again.hash != log.hash_of(piece)) {
      // Two answers differ: the one that a third answer confirms is the right one.
      BRIMFUL_TRY(Fetched third, fetch(reader, log, piece));
      if (third.hash != log.hash_of(piece)) {
        BRIMFUL_TRY_VOID(part.write(begin, third.bytes));
        BRIMFUL_TRY_VOID(log.set(piece, third.hash));
        Hasher whole = before.copy();
        BRIMFUL_TRY_VOID(part.hash(begin, file.size - begin, whole));
        if (whole.hex() == file.hash) return {};
      }
    }
    BRIMFUL_TRY_VOID(part.hash(begin, log.size_of(piece), before));
  }
  return fail(
      ErrorCode::kCorrupt,
      fmt::format("{}: the server has other bytes than the hub's hash says ({}): try later or another "
                  "HF_ENDPOINT; what was fetched stays",
                  shown(file.url), std::string_view(file.hash).substr(0, 12)));
}

}  // namespace brimful::hub

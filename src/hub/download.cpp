#include "hub/download.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "hub/file_lock.h"
#include "hub/part_file.h"
#include "hub/piece_repair.h"
#include "hub/range_reader.h"
#include "hub/rate_limit.h"
#include "hub/span_board.h"

namespace brimful::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kProgressInterval{100};

bool is_there(const Download& file) {
  std::error_code error;
  return fs::is_regular_file(file.blob, error) && fs::file_size(file.blob, error) == file.size && !error;
}

/// One download under its lock.
class Fetch {
 public:
  Fetch(const Settings& settings, const Download& file, const DownloadListener& listener, PieceLog log,
        PartFile part)
      : settings_(settings),
        listener_(listener),
        expected_{file.url, file.hash, file.size},
        log_(std::move(log)),
        part_(std::move(part)),
        limit_(settings.limit_rate) {}

  /// Brings the part to the state in which it is the file.
  Status complete() {
    received_ = log_.bytes_there();
    if (listener_.begins) listener_.begins(Bytes{received_});
    BRIMFUL_TRY(bool right, fetch_missing());
    if (!right) {
      note("the bytes do not have the file's hash yet: looking for the wrong ones");
      BRIMFUL_TRY(const std::size_t lost, forget_lost_pieces(log_, part_));
      if (lost > 0) {
        received_ = log_.bytes_there();
        BRIMFUL_TRY(right, fetch_missing());
      }
    }
    if (!right) BRIMFUL_TRY_VOID(repair());
    return part_.sync();
  }

  /// Removes the state. The caller does this when the part has become the file.
  void forget() { log_.remove(); }

 private:
  void note(const std::string& text) const {
    if (listener_.note) listener_.note(text);
  }

  void tell_progress(std::uint64_t done) const {
    if (listener_.progress) listener_.progress(Bytes{done});
  }

  /// Fetches all missing pieces, and computes the hash of the whole file beside it. Returns whether it is the
  /// right one.
  Result<bool> fetch_missing() {
    BRIMFUL_TRY(Hasher whole, start_file_hash(expected_.hash, expected_.size));
    SpanBoard board(log_, settings_.connections);
    const std::uint64_t missing = expected_.size - received_;
    const std::uint64_t most = (missing + log_.size_of(0) - 1) / std::max<std::uint64_t>(log_.size_of(0), 1);
    std::vector<std::jthread> connections;
    for (std::size_t i = 0; i < std::min<std::uint64_t>(settings_.connections, most); ++i)
      connections.emplace_back([this, &board] { connect(board); });
    std::size_t hashed = 0;
    while (hashed < log_.pieces() && !board.failed()) {
      tell_progress(received_);
      if (!board.has(hashed)) {
        board.wait(kProgressInterval);
        continue;
      }
      if (Status read = part_.hash(log_.begin_of(hashed), log_.size_of(hashed), whole); !read)
        board.fail_with(read.error());
      ++hashed;
    }
    connections.clear();  // This waits for their ends.
    if (auto error = board.error()) return std::unexpected(std::move(*error));
    tell_progress(received_);
    return whole.hex() == expected_.hash;
  }

  /// The work of one connection: one span after the other, until nothing is left.
  void connect(SpanBoard& board) {
    auto http = Http::open(settings_);
    if (!http) return board.fail_with(http.error());
    while (SpanBoard::Span* const span = board.claim()) {
      if (Status done = fetch_span(*http, board, *span); !done) return board.fail_with(done.error());
    }
  }

  Status fetch_span(Http& http, SpanBoard& board, SpanBoard::Span& span) {
    const auto range = board.left(span);
    if (!range) return {};
    std::uint64_t at = range->begin;
    BRIMFUL_TRY(Hasher hasher, Hasher::start());
    RangeReader reader(http, expected_,
                       [&board](std::chrono::milliseconds time) { return board.pause(time); });
    return reader.read(range->begin, range->end, [&](std::span<const std::byte> bytes) -> Result<bool> {
      const std::size_t count = bytes.size();
      while (!bytes.empty()) {
        if (board.failed()) return false;
        const std::uint64_t piece_end = board.piece_end(span);
        const auto now =
            bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), piece_end - at)));
        BRIMFUL_TRY_VOID(part_.write(at, now));
        hasher.add(now);
        bytes = bytes.subspan(now.size());
        at += now.size();
        received_ += now.size();
        if (at < piece_end) continue;
        BRIMFUL_TRY(const bool goes_on, board.finish_piece(span, hasher.hex()));
        if (!goes_on) return false;  // What follows is another connection's.
        BRIMFUL_TRY(hasher, Hasher::start());
      }
      std::this_thread::sleep_for(limit_.take(count));
      return true;
    });
  }

  Status repair() {
    BRIMFUL_TRY(Http http, Http::open(settings_));
    RangeReader reader(http, expected_, [](std::chrono::milliseconds time) {
      std::this_thread::sleep_for(time);
      return false;
    });
    note("all bytes are as they were received, so some were sent wrong: comparing them with a second answer");
    return replace_wrong_pieces(reader, expected_, log_, part_,
                                [this](std::size_t piece) { tell_progress(log_.begin_of(piece)); });
  }

  const Settings& settings_;
  const DownloadListener& listener_;
  const ExpectedFile expected_;
  PieceLog log_;
  PartFile part_;
  RateLimit limit_;
  std::atomic<std::uint64_t> received_ = 0;  // Bytes of the file that are there.
};

}  // namespace

fs::path part_of(const fs::path& blob) { return blob.string() + ".brimful-part"; }
fs::path pieces_of(const fs::path& blob) { return blob.string() + ".brimful-pieces"; }

Status download(const Settings& settings, const Download& file, const DownloadListener& listener) {
  if (is_there(file)) return {};
  BRIMFUL_TRY(const FileLock lock, FileLock::take(file.lock, [&] {
                if (listener.note) listener.note("another process fetches this file: waiting for it");
              }));
  if (is_there(file)) return {};
  std::error_code error;
  fs::create_directories(file.blob.parent_path(), error);
  if (error) {
    return fail(ErrorCode::kIo, fmt::format("{}: cannot be written: {}; HF_HUB_CACHE names another cache",
                                            file.blob.parent_path().string(), error.message()));
  }
  // A state without its part is of no use.
  if (!fs::exists(part_of(file.blob), error)) fs::remove(pieces_of(file.blob), error);
  BRIMFUL_TRY(PartFile part, PartFile::open(part_of(file.blob), file.size));
  BRIMFUL_TRY(PieceLog log, PieceLog::open(pieces_of(file.blob), file.hash, file.size, file.piece));
  Fetch fetch(settings, file, listener, std::move(log), std::move(part));
  BRIMFUL_TRY_VOID(fetch.complete());
  fs::rename(part_of(file.blob), file.blob, error);
  if (error)
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot be written: {}", file.blob.string(), error.message()));
  fetch.forget();
  return {};
}

Bytes unfinished_bytes(const fs::path& blob) { return PieceLog::bytes_there_by(pieces_of(blob)); }

Result<std::string> hash_of_file(const fs::path& path, const std::string& hash,
                                 const std::function<void(Bytes)>& progress) {
  BRIMFUL_TRY(const PartFile file, PartFile::open_to_read(path));
  BRIMFUL_TRY(const std::uint64_t size, file.size());
  BRIMFUL_TRY(Hasher hasher, start_file_hash(hash, size));
  std::uint64_t done = 0;
  BRIMFUL_TRY_VOID(file.hash(0, size, hasher, [&](std::uint64_t bytes) {
    done += bytes;
    if (progress) progress(Bytes{done});
  }));
  return hasher.hex();
}

}  // namespace brimful::hub

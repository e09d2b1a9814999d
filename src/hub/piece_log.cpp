#include "hub/piece_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "hub/http_headers.h"
#include "hub/hub_cache.h"

namespace brimful::hub {
namespace {

constexpr std::string_view kName = "brimful-pieces";
constexpr std::string_view kMissing = "missing";
constexpr std::uint64_t kMostPieces = 10'000'000;

std::unexpected<Error> failed(const std::filesystem::path& path, int why) {
  const ErrorCode code = why == ENOSPC || why == EDQUOT ? ErrorCode::kNoSpace : ErrorCode::kIo;
  return fail(code, fmt::format("{}: cannot be written: {}", path.string(), std::strerror(why)));
}

std::string read_all(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

PieceLog::PieceLog(std::filesystem::path path, int file, std::uint64_t size, std::uint64_t piece)
    : path_(std::move(path)), file_(file), size_(size), piece_(piece) {
  hashes_.resize((size + piece - 1) / piece);
}

PieceLog::PieceLog(PieceLog&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      size_(other.size_),
      piece_(other.piece_),
      hashes_(std::move(other.hashes_)) {}

PieceLog::~PieceLog() {
  if (file_ >= 0) ::close(file_);
}

Result<PieceLog> PieceLog::open(const std::filesystem::path& path, const std::string& hash,
                                std::uint64_t size, std::uint64_t piece) {
  const std::string head = fmt::format("{} 1 {} {} {}\n", kName, hash, size, piece);
  std::string text = read_all(path);
  const bool known = text.starts_with(head);
  // What a kill has cut is removed, so that the next line does not continue it.
  text.resize(known ? text.rfind('\n') + 1 : 0);
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND | O_NOFOLLOW, 0600);
  if (file < 0) return failed(path, errno);
  PieceLog log(path, file, size, piece);
  if (::ftruncate(file, static_cast<off_t>(text.size())) != 0) return failed(path, errno);
  if (!known) {
    BRIMFUL_TRY_VOID(log.append(head));
    return log;
  }
  log.read_lines(std::string_view(text).substr(head.size()));
  return log;
}

Bytes PieceLog::bytes_there_by(const std::filesystem::path& path) {
  const std::string text = read_all(path);
  const std::size_t end = text.find('\n');
  if (end == std::string::npos) return {};
  std::istringstream head(text.substr(0, end));
  std::string name;
  std::string version;
  std::string hash;
  std::uint64_t size = 0;
  std::uint64_t piece = 0;
  if (!(head >> name >> version >> hash >> size >> piece) || name != kName || piece == 0) return {};
  if (size / piece > kMostPieces) return {};
  PieceLog log(path, -1, size, piece);
  log.read_lines(std::string_view(text).substr(end + 1));
  return Bytes{log.bytes_there()};
}

void PieceLog::read_lines(std::string_view lines) {
  for (std::size_t end = 0; (end = lines.find('\n')) != std::string_view::npos; lines.remove_prefix(end + 1))
    read_line(lines.substr(0, end));
}

void PieceLog::read_line(std::string_view line) {
  const std::size_t space = std::min(line.find(' '), line.size());
  const auto piece = parse_number(line.substr(0, space));
  const std::string_view hash = line.substr(std::min(space + 1, line.size()));
  if (!piece || *piece >= hashes_.size()) return;
  if (hash == kMissing) hashes_[*piece].clear();
  if (is_hash(hash)) hashes_[*piece] = hash;
}

std::uint64_t PieceLog::size_of(std::size_t piece) const { return std::min(piece_, size_ - begin_of(piece)); }

std::uint64_t PieceLog::bytes_there() const {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < hashes_.size(); ++i) {
    if (!hashes_[i].empty()) out += size_of(i);
  }
  return out;
}

Status PieceLog::set(std::size_t piece, const std::string& hash) {
  BRIMFUL_TRY_VOID(append(fmt::format("{} {}\n", piece, hash.empty() ? kMissing : hash)));
  hashes_[piece] = hash;
  return {};
}

Status PieceLog::append(std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = ::write(file_, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed(path_, errno);
    line.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

void PieceLog::remove() {
  std::error_code ignored;  // A state without its part is begun anew.
  std::filesystem::remove(path_, ignored);
}

}  // namespace brimful::hub

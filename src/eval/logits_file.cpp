#include "eval/logits_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "base/hash.h"
#include "eval/checkpoint.h"
#include "eval/log_probabilities.h"

namespace brimful::eval {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "_logits_";
constexpr std::size_t kNumbers = 3;
constexpr std::uint32_t kLeastChunk = 4;
// Larger numbers are no chunk of tokens, no vocabulary and no number of chunks that anybody has computed.
constexpr std::uint32_t kMostChunkTokens = 1U << 24;
constexpr std::uint32_t kMostVocabulary = 1U << 24;
constexpr std::uint64_t kMostTokens = 1ULL << 30;

std::unexpected<Error> failed(const fs::path& file, int why) {
  const ErrorCode code = why == ENOSPC || why == EDQUOT ? ErrorCode::kNoSpace : ErrorCode::kIo;
  return fail(code, fmt::format("{}: cannot be written: {}", file.string(), std::strerror(why)));
}

std::unexpected<Error> corrupt(const fs::path& file, std::string_view why) {
  return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", file.string(), why));
}

Result<LogitsHeader> read_header(std::istream& in, const fs::path& file) {
  std::array<char, kMagic.size()> magic{};
  if (!take(in, magic) || std::string_view(magic.data(), magic.size()) != kMagic)
    return corrupt(file, "it is no file of logits (they begin with _logits_)");
  std::array<std::int32_t, kNumbers> numbers{};
  if (!take(in, numbers)) return corrupt(file, "it ends inside its header");
  LogitsHeader header{static_cast<std::uint32_t>(numbers[0]),
                      static_cast<std::uint32_t>(numbers[1]),
                      static_cast<std::uint32_t>(numbers[2]),
                      {}};
  const std::uint64_t tokens = std::uint64_t{header.chunk_tokens} * header.chunks;
  if (header.chunk_tokens < kLeastChunk || header.chunk_tokens > kMostChunkTokens || header.vocabulary < 1 ||
      header.vocabulary > kMostVocabulary || header.chunks < 1 || tokens > kMostTokens) {
    return corrupt(
        file,
        fmt::format("{} chunks of {} tokens from a vocabulary of {} are impossible: the file is damaged",
                    numbers[2], numbers[0], numbers[1]));
  }
  std::error_code error;
  const std::uint64_t size = fs::file_size(file, error);
  if (error)
    return fail(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", file.string(), error.message()));
  header.tokens.resize(size < tokens * sizeof(llama_token) ? 0 : tokens);
  if (header.tokens.empty() || !take(in, header.tokens)) return corrupt(file, "it ends inside its header");
  for (const llama_token token : header.tokens) {
    if (token < 0 || std::cmp_greater_equal(token, header.vocabulary))
      return corrupt(file, fmt::format("token {} is not in its vocabulary of {}: the file is damaged", token,
                                       header.vocabulary));
  }
  return header;
}

}  // namespace

Bytes LogitsHeader::header_bytes() const {
  return Bytes{kMagic.size() + kNumbers * sizeof(std::int32_t) +
               std::uint64_t{chunk_tokens} * chunks * sizeof(llama_token)};
}

Bytes LogitsHeader::chunk_bytes() const {
  return Bytes{std::uint64_t{scored_tokens(chunk_tokens)} * packed_words(vocabulary) * sizeof(std::uint16_t)};
}

fs::path LogitsWriter::partial_name(const fs::path& file) {
  fs::path out = file;
  out += ".partial";
  return out;
}

Result<LogitsWriter> LogitsWriter::open(fs::path file, const LogitsHeader& header,
                                        std::uint32_t chunks_done) {
  const fs::path part = partial_name(file);
  if (chunks_done > 0) {
    std::ifstream there(part, std::ios::binary);
    BRIMFUL_TRY(const LogitsHeader before, read_header(there, part));
    if (before != header) return corrupt(part, "it belongs to another text or model: remove it");
  }
  const int descriptor = ::open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) return failed(part, errno);
  LogitsWriter out(std::move(file), descriptor);
  const std::uint64_t keeps =
      chunks_done > 0 ? (header.header_bytes() + header.chunk_bytes() * chunks_done).value : 0;
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return failed(part, errno);
  if (std::cmp_less(status.st_size, keeps))
    return corrupt(part, "it ends before what was computed: begin again");
  if (::ftruncate(descriptor, static_cast<off_t>(keeps)) != 0) return failed(part, errno);
  // A full disk is told before the weights are read, where the file system can tell it.
  const int room = ::posix_fallocate(descriptor, 0, static_cast<off_t>(header.file_bytes().value));
  if (room == ENOSPC || room == EDQUOT || room == EFBIG) {
    ::ftruncate(descriptor, static_cast<off_t>(keeps));
    return fail(ErrorCode::kNoSpace, fmt::format("{}: the disk has no room for {} of logits", part.string(),
                                                 format_bytes(header.file_bytes())));
  }
  if (::lseek(descriptor, static_cast<off_t>(keeps), SEEK_SET) < 0) return failed(part, errno);
  if (chunks_done > 0) return out;
  const std::array<std::uint32_t, kNumbers> numbers{header.chunk_tokens, header.vocabulary, header.chunks};
  BRIMFUL_TRY_VOID(out.write(std::as_bytes(std::span(kMagic))));
  BRIMFUL_TRY_VOID(out.write(std::as_bytes(std::span(numbers))));
  BRIMFUL_TRY_VOID(out.write(std::as_bytes(std::span(header.tokens))));
  return out;
}

LogitsWriter::LogitsWriter(LogitsWriter&& other) noexcept
    : file_(std::move(other.file_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

LogitsWriter::~LogitsWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status LogitsWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed(partial_name(file_), errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status LogitsWriter::append(std::span<const std::uint16_t> words) {
  BRIMFUL_TRY_VOID(write(std::as_bytes(words)));
  unwritten_ += Bytes{words.size_bytes()};
  return unwritten_ < kUnwritten ? Status{} : flush();
}

Status LogitsWriter::flush() {
  // The pages are clean then: the kernel can drop them, and they do not crowd the budget.
  unwritten_ = {};
  if (::fdatasync(descriptor_) != 0) return failed(partial_name(file_), errno);
  ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
  return {};
}

Status LogitsWriter::finish() {
  BRIMFUL_TRY_VOID(flush());
  std::error_code error;
  fs::rename(partial_name(file_), file_, error);
  if (error) return failed(file_, error.value());
  return {};
}

bool LogitsReader::is_one(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::array<char, kMagic.size()> magic{};
  return in && take(in, magic) && std::string_view(magic.data(), magic.size()) == kMagic;
}

Result<LogitsReader> LogitsReader::open(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::error_code error;
  if (!in || !fs::is_regular_file(file, error))
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: the file of logits cannot be read: check the path", file.string()));
  BRIMFUL_TRY(LogitsHeader header, read_header(in, file));
  const std::uint64_t size = fs::file_size(file, error);
  if (error || size < header.file_bytes().value) {
    return corrupt(file, fmt::format("it has {} bytes, and {} chunks take {}: it was not written to its end",
                                     size, header.chunks, header.file_bytes().value));
  }
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return fail(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);  // what the header's reading has left
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);    // without reading ahead into the page cache
  return LogitsReader(file, std::move(header), descriptor);
}

LogitsReader::LogitsReader(LogitsReader&& other) noexcept
    : file_(std::move(other.file_)),
      header_(std::move(other.header_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

LogitsReader::~LogitsReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string LogitsReader::fingerprint() {
  Hash64 hash;
  const auto add = [&](const auto& values) {
    const auto bytes = std::as_bytes(std::span(values));
    hash.add(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  };
  add(std::array{header_.chunk_tokens, header_.vocabulary, header_.chunks});
  add(header_.tokens);
  std::vector<std::uint16_t> words(packed_words(header_.vocabulary));
  if (read(0, 0, words)) add(words);
  return fmt::format("{:016x}", hash.value());
}

Status LogitsReader::read(std::uint32_t chunk, std::uint32_t token, std::span<std::uint16_t> words) {
  std::uint64_t at = (header_.header_bytes() + header_.chunk_bytes() * chunk).value +
                     std::uint64_t{token} * words.size_bytes();
  for (auto bytes = std::as_writable_bytes(words); !bytes.empty();) {
    const ssize_t got = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return fail(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", file_.string(),
                                              got == 0 ? "it became shorter" : std::strerror(errno)));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    at += static_cast<std::uint64_t>(got);
  }
  // From the beginning on, because the kernel drops only whole pages.
  ::posix_fadvise(descriptor_, 0, static_cast<off_t>(at), POSIX_FADV_DONTNEED);
  return {};
}

}  // namespace brimful::eval

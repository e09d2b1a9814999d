#pragma once

#include <llama.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

/// Files of log-probabilities, in the format of llama-perplexity (`--save-all-logits` there):
///   8 bytes `_logits_`; then as 32-bit integers: tokens of a chunk, size of the vocabulary, number of
///   chunks, and the tokens of all chunks; then for each token of the second half of each chunk, but its last
///   one, the words of pack_log_probabilities().
namespace brimful::eval {

/// What a file of logits was computed from.
struct LogitsHeader {
  std::uint32_t chunk_tokens = 0;
  std::uint32_t vocabulary = 0;
  std::uint32_t chunks = 0;
  /// The tokens of all chunks, before a first token is replaced by that of the beginning of a text.
  std::vector<llama_token> tokens;

  bool operator==(const LogitsHeader&) const = default;
  /// Bytes of the header, and of what follows for each chunk.
  [[nodiscard]] Bytes header_bytes() const;
  [[nodiscard]] Bytes chunk_bytes() const;
  [[nodiscard]] Bytes file_bytes() const { return header_bytes() + chunk_bytes() * chunks; }
};

/// Number of tokens of a chunk that are scored: those of its second half, but the first of these.
[[nodiscard]] constexpr std::uint32_t scored_tokens(std::uint32_t chunk_tokens) {
  return chunk_tokens - 1 - chunk_tokens / 2;
}

/// Writes a file of logits chunk by chunk, under another name until it is complete. Threading: none.
class LogitsWriter {
 public:
  /// Begins the file, or goes on with one of which `chunks_done` chunks are complete: what follows them is
  /// dropped. Errors: kIo; kNoSpace when the disk has no room for the whole file; kCorrupt when the file that
  /// there is holds something else, or less.
  [[nodiscard]] static Result<LogitsWriter> open(std::filesystem::path file, const LogitsHeader& header,
                                                 std::uint32_t chunks_done);

  /// Appends words of pack_log_probabilities(). At most kUnwritten bytes stay in the page cache. Errors: kIo,
  /// kNoSpace. After an error, open() goes on.
  [[nodiscard]] Status append(std::span<const std::uint16_t> words);
  /// Returns when all that was appended is on the disk. Errors: as append().
  [[nodiscard]] Status flush();
  /// Gives the complete file its name. Errors: as append().
  [[nodiscard]] Status finish();

  static constexpr Bytes kUnwritten{4ULL << 20};
  /// Where the file lies until finish().
  [[nodiscard]] static std::filesystem::path partial_name(const std::filesystem::path& file);

  LogitsWriter(LogitsWriter&& other) noexcept;
  LogitsWriter& operator=(LogitsWriter&&) = delete;
  ~LogitsWriter();

 private:
  LogitsWriter(std::filesystem::path file, int descriptor)
      : file_(std::move(file)), descriptor_(descriptor) {}
  [[nodiscard]] Status write(std::span<const std::byte> bytes);

  std::filesystem::path file_;
  int descriptor_ = -1;
  Bytes unwritten_;
};

/// Reads a file of logits that is not trusted. It leaves little in the page cache. Threading: none.
class LogitsReader {
 public:
  /// Reads and checks the header. Errors: kNotFound, kIo, kCorrupt for what is no such file, or one that ends
  /// too early.
  [[nodiscard]] static Result<LogitsReader> open(const std::filesystem::path& file);
  /// Whether the file begins as a file of logits does. False also where it cannot be read.
  [[nodiscard]] static bool is_one(const std::filesystem::path& file);

  [[nodiscard]] const LogitsHeader& header() const { return header_; }
  /// A text that tells the content from another one, by the header and the first logits.
  [[nodiscard]] std::string fingerprint();
  /// Reads the words of one scored token. Requires: both numbers are in range, and `words` has the size of
  /// packed_words(). Errors: kIo.
  [[nodiscard]] Status read(std::uint32_t chunk, std::uint32_t token, std::span<std::uint16_t> words);

  LogitsReader(LogitsReader&& other) noexcept;
  LogitsReader& operator=(LogitsReader&&) = delete;
  ~LogitsReader();

 private:
  LogitsReader(std::filesystem::path file, LogitsHeader header, int descriptor)
      : file_(std::move(file)), header_(std::move(header)), descriptor_(descriptor) {}

  std::filesystem::path file_;
  LogitsHeader header_;
  int descriptor_ = -1;
};

}  // namespace brimful::eval

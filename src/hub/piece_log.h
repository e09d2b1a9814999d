#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::hub {

/// The state of a download that is not finished, as a file: which pieces of the file are there, with the
/// sha256 of the bytes as they were received. Its first line says for which file and which size of pieces it
/// is; each further line is one piece. A line that a kill has cut is ignored. Not thread-safe.
class PieceLog {
 public:
  /// The size of a piece in bytes; the last one of a file is shorter.
  static constexpr std::uint64_t kPiece = 8 << 20;

  /// Reads the state in `path`, or begins a new one where there is none, or one of another file. `hash` and
  /// `size` are those of the whole file; `piece` is kPiece but in tests. Errors: kIo, kNoSpace.
  [[nodiscard]] static Result<PieceLog> open(const std::filesystem::path& path, const std::string& hash,
                                             std::uint64_t size, std::uint64_t piece = kPiece);
  /// What the state in `path` says of the bytes that are there, of whatever file it is; zero where there is
  /// none. Changes nothing.
  [[nodiscard]] static Bytes bytes_there_by(const std::filesystem::path& path);
  PieceLog(PieceLog&& other) noexcept;
  PieceLog& operator=(PieceLog&&) = delete;
  ~PieceLog();

  /// The number of pieces of the whole file.
  [[nodiscard]] std::size_t pieces() const { return hashes_.size(); }
  /// The position of a piece in the file, and its size, both in bytes.
  [[nodiscard]] std::uint64_t begin_of(std::size_t piece) const { return piece * piece_; }
  [[nodiscard]] std::uint64_t size_of(std::size_t piece) const;
  /// The sha256 of a piece that is there; empty for one that is missing.
  [[nodiscard]] const std::string& hash_of(std::size_t piece) const { return hashes_[piece]; }
  /// The bytes of all pieces that are there.
  [[nodiscard]] std::uint64_t bytes_there() const;

  /// Notes that a piece is there, or with an empty hash that it is missing. Errors: kIo, kNoSpace.
  [[nodiscard]] Status set(std::size_t piece, const std::string& hash);
  /// Removes the file, when the download is finished.
  void remove();

 private:
  PieceLog(std::filesystem::path path, int file, std::uint64_t size, std::uint64_t piece);
  [[nodiscard]] Status append(std::string_view line);
  void read_lines(std::string_view lines);
  void read_line(std::string_view line);

  std::filesystem::path path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
  std::uint64_t piece_ = kPiece;
  std::vector<std::string> hashes_;
};

}  // namespace brimful::hub

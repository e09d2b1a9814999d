#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "hub/piece_log.h"
#include "hub/settings.h"

namespace brimful::hub {

/// A file to fetch.
struct Download {
  std::string url;
  /// The hash that the hub says: 64 digits of a sha256, or 40 of git's sha1.
  std::string hash;
  std::uint64_t size = 0;
  /// The path of the finished file. Unfinished, it lies beside it with the ending `.brimful-part`, its state
  /// with `.brimful-pieces`.
  std::filesystem::path blob;
  /// The file that is locked while this download runs.
  std::filesystem::path lock;
  /// The size of a piece in bytes. Only tests change it.
  std::uint64_t piece = PieceLog::kPiece;
};

/// What a download tells while it runs. All are called by the thread that called download(); each may be
/// empty.
struct DownloadListener {
  /// The download begins: so many bytes of the file are already there.
  std::function<void(Bytes already)> begins;
  /// So many bytes of the file are there. The number may fall when bytes turn out to be wrong.
  std::function<void(Bytes done)> progress;
  /// Something that a person should know.
  std::function<void(const std::string& note)> note;
};

/// Fetches a file, and continues where an earlier call ended. The file appears at `blob` when it is whole and
/// has its hash. Does nothing when it is there. docs/design-models.md says how.
/// Errors: kNoSpace; kIo when the server or the disk fails; kNotFound; kCorrupt when the server has another
/// file than the hub says; kUnsupported when a library is missing. What was fetched stays for the next call.
/// Blocks: until the file is there. Threads: it starts some of its own, which end before it returns.
[[nodiscard]] Status download(const Settings& settings, const Download& file,
                              const DownloadListener& listener);

/// The bytes of an unfinished download of `blob` that are there; zero when there is none.
[[nodiscard]] Bytes unfinished_bytes(const std::filesystem::path& blob);
/// The names of the files of an unfinished download of `blob`.
[[nodiscard]] std::filesystem::path part_of(const std::filesystem::path& blob);
[[nodiscard]] std::filesystem::path pieces_of(const std::filesystem::path& blob);

/// Computes the hash of a file, of the kind that `hash` is: `hash` itself, where the file is the right one.
/// `progress` is called now and then with the bytes that were read. Errors: kNotFound, kIo, kUnsupported.
[[nodiscard]] Result<std::string> hash_of_file(const std::filesystem::path& file, const std::string& hash,
                                               const std::function<void(Bytes)>& progress);

}  // namespace brimful::hub

#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace brimful::batch {

/// A file of ours: WAL, synced with each commit, for one process at a time, closed to other users. Throws
/// SQLite::Exception.
[[nodiscard]] std::unique_ptr<SQLite::Database> open_database(const std::string& file);

/// Of what SQLite throws: kNoSpace for a full disk; kInvalidArgument where another process has the file;
/// kCorrupt; kIo.
[[nodiscard]] Error sqlite_error(const std::string& file, const SQLite::Exception& thrown);

/// Runs `work`, and makes an error of what SQLite throws.
template <typename Work>
auto guarded(const std::string& file, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const SQLite::Exception& thrown) {
    return std::unexpected(sqlite_error(file, thrown));
  }
}

}  // namespace brimful::batch

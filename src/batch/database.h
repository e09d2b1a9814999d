#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace brimful::batch {

/// Opens or creates a SQLite file of this program: WAL, synced with each commit, locked by one process, and
/// readable only by its user. Throws SQLite::Exception.
[[nodiscard]] std::unique_ptr<SQLite::Database> open_database(const std::string& file);

/// Turns an exception of SQLite into an error: kNoSpace when the disk is full; kInvalidArgument when another
/// process has the file; kCorrupt for a damaged file; kIo for everything else.
[[nodiscard]] Error sqlite_error(const std::string& file, const SQLite::Exception& thrown);

/// Runs `work`, and turns an exception of SQLite into an error.
template <typename Work>
auto guarded(const std::string& file, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const SQLite::Exception& thrown) {
    return std::unexpected(sqlite_error(file, thrown));
  }
}

}  // namespace brimful::batch

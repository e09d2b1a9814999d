#include "batch/database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/private_files.h"

namespace brimful::batch {

std::unique_ptr<SQLite::Database> open_database(const std::string& file) {
  // SQLite gives the files beside this one the same permissions. They hold users' questions and the answers.
  if (const Status made = make_private_file(file); !made)
    throw SQLite::Exception(made.error().message, SQLITE_CANTOPEN);
  auto out = std::make_unique<SQLite::Database>(file, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  out->exec("PRAGMA locking_mode = EXCLUSIVE");
  out->exec("PRAGMA journal_mode = WAL");
  out->exec("PRAGMA synchronous = FULL");
  return out;
}

Error sqlite_error(const std::string& file, const SQLite::Exception& thrown) {
  switch (thrown.getErrorCode()) {
    case SQLITE_FULL: return {ErrorCode::kNoSpace, fmt::format("{}: the disk is full", file)};
    case SQLITE_BUSY:
      return {ErrorCode::kInvalidArgument, fmt::format("{}: another process is using it", file)};
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return {ErrorCode::kCorrupt,
              fmt::format("{}: is damaged, or not a file of Brimful's: remove it to start again", file)};
    default: return {ErrorCode::kIo, fmt::format("{}: {}", file, thrown.what())};
  }
}

}  // namespace brimful::batch

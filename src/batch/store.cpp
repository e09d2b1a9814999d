#include "batch/store.h"

#include <fmt/format.h>

#include "batch/database.h"

namespace strata::batch {
Store::Store(std::unique_ptr<SQLite::Database> database) : database_(std::move(database)) {}
Store::Store(Store&&) noexcept = default;
Store::~Store() = default;

Result<Store> Store::open(const std::filesystem::path& path, const std::string& input) {
  return guarded(path.string(), [&]() -> Result<Store> {
    auto database = open_database(path.string());
    SQLite::Transaction transaction(*database, SQLite::TransactionBehavior::IMMEDIATE);
    database->exec("CREATE TABLE IF NOT EXISTS batch (input TEXT NOT NULL)");
    database->exec(
        "CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, custom_id TEXT NOT NULL UNIQUE, "
        "offset INTEGER NOT NULL, bytes INTEGER NOT NULL, prompt INTEGER NOT NULL, tokens INTEGER NOT NULL, "
        "failed INTEGER, outcome "
        "TEXT)");
    SQLite::Statement known(*database, "SELECT input FROM batch");
    if (!known.executeStep()) {
      SQLite::Statement insert(*database, "INSERT INTO batch VALUES (?)");
      insert.bind(1, input);
      insert.exec();
    } else if (known.getColumn(0).getString() != input) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: belongs to another input: use another output, or take it away to begin anew",
                      path.string()));
    }
    known.reset();
    transaction.commit();
    return Store(std::move(database));
  });
}

Result<bool> Store::has_lines() const {
  return guarded(database_->getFilename(), [&]() -> Result<bool> {
    SQLite::Statement any(*database_, "SELECT 1 FROM lines LIMIT 1");
    return any.executeStep();
  });
}

Status Store::add(std::span<const Line> lines) {
  return guarded(database_->getFilename(), [&]() -> Status {
    SQLite::Transaction transaction(*database_);
    SQLite::Statement insert(
        *database_,
        "INSERT INTO lines (number, custom_id, offset, bytes, prompt, tokens) VALUES (?, ?, ?, ?, ?, ?)");
    for (const Line& line : lines) {
      insert.bind(1, line.number);
      insert.bind(2, line.custom_id);
      insert.bind(3, static_cast<std::int64_t>(line.offset));
      insert.bind(4, static_cast<std::int64_t>(line.bytes));
      insert.bind(5, static_cast<std::int64_t>(line.prompt));
      insert.bind(6, static_cast<std::int64_t>(line.tokens));
      insert.exec();
      insert.reset();
    }
    transaction.commit();
    return {};
  });
}

Result<Store::Counts> Store::counts() const {
  return guarded(database_->getFilename(), [&]() -> Result<Counts> {
    SQLite::Statement count(
        *database_,
        "SELECT count(*), count(failed), coalesce(sum(failed), 0), coalesce(max(tokens), 0), "
        "coalesce(max(prompt), 0), CAST(coalesce(avg(prompt), 0) AS INTEGER), CAST(coalesce(avg(tokens), 0) "
        "AS INTEGER) FROM lines");
    count.executeStep();
    const std::int64_t failed = count.getColumn(2).getInt64();
    return Counts{count.getColumn(0).getInt64(),
                  count.getColumn(1).getInt64() - failed,
                  failed,
                  static_cast<std::uint64_t>(count.getColumn(3).getInt64()),
                  static_cast<std::uint64_t>(count.getColumn(4).getInt64()),
                  static_cast<std::uint64_t>(count.getColumn(5).getInt64()),
                  static_cast<std::uint64_t>(count.getColumn(6).getInt64())};
  });
}

Result<std::optional<Line>> Store::next(std::int64_t after) const {
  return guarded(database_->getFilename(), [&]() -> Result<std::optional<Line>> {
    SQLite::Statement select(
        *database_,
        "SELECT number, custom_id, offset, bytes FROM lines WHERE number > ? AND failed IS "
        "NULL ORDER BY number LIMIT 1");
    select.bind(1, after);
    if (!select.executeStep()) return std::nullopt;
    return Line{select.getColumn(0).getInt64(), select.getColumn(1).getString(),
                static_cast<std::uint64_t>(select.getColumn(2).getInt64()),
                static_cast<std::uint64_t>(select.getColumn(3).getInt64())};
  });
}

Status Store::finish(std::span<const Outcome> outcomes) {
  if (outcomes.empty()) return {};
  return guarded(database_->getFilename(), [&]() -> Status {
    SQLite::Transaction transaction(*database_);
    SQLite::Statement update(*database_,
                             "UPDATE lines SET failed = ?, outcome = ? WHERE number = ? AND failed IS NULL");
    for (const Outcome& outcome : outcomes) {
      update.bind(1, outcome.failed ? 1 : 0);
      update.bind(2, outcome.json);
      update.bind(3, outcome.number);
      if (update.exec() != 1)
        return fail(ErrorCode::kInternal, fmt::format("line {} had an outcome already", outcome.number));
      update.reset();
    }
    transaction.commit();
    return {};
  });
}

Status Store::for_each(bool failed, const std::function<Status(const std::string& json)>& take) const {
  return guarded(database_->getFilename(), [&]() -> Status {
    SQLite::Statement select(*database_, "SELECT outcome FROM lines WHERE failed = ? ORDER BY number");
    select.bind(1, failed ? 1 : 0);
    while (select.executeStep()) STRATA_TRY_VOID(take(select.getColumn(0).getString()));
    return {};
  });
}

Status Store::take_away() {
  if (database_) path_ = database_->getFilename();
  database_.reset();  // takes the log with it
  std::error_code error;
  std::filesystem::remove(path_, error);
  if (!error) return {};
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be taken away: {}", path_, error.message()));
}

}  // namespace strata::batch

#include "batch/store.h"

#include <fmt/format.h>

#include "batch/database.h"

namespace brimful::batch {
namespace {

// The version of the tables, in SQLite's user_version. Version 1 had 0 there, and did not keep settings.
constexpr int kFormat = 2;

/// Whether anything was computed. Outcomes of lines that cannot be read do not count.
bool has_outcomes(SQLite::Database& database) {
  SQLite::Statement any(database,
                        "SELECT 1 FROM lines WHERE failed IS NOT NULL AND custom_id IS NOT NULL LIMIT 1");
  return any.executeStep();
}

/// Removes the tables of another version of the program. Errors: kInvalidArgument when they hold an outcome.
Status leave_other_formats(SQLite::Database& database) {
  if (database.execAndGet("PRAGMA user_version").getInt() == kFormat) return {};
  if (database.tableExists("lines")) {
    if (has_outcomes(database)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: another version of Brimful started this batch, and the file does not say with "
                      "which model and flags: finish it with that version, or remove the file to start again",
                      database.getFilename()));
    }
    database.exec("DROP TABLE lines");
    database.exec("DROP TABLE IF EXISTS batch");
  }
  database.exec(fmt::format("PRAGMA user_version = {}", kFormat));
  return {};
}

/// Writes outcomes. Requires: their lines have no outcome.
Status insert_outcomes(SQLite::Database& database, std::span<const Outcome> outcomes) {
  SQLite::Statement update(database,
                           "UPDATE lines SET failed = ?, outcome = ? WHERE number = ? AND failed IS NULL");
  for (const Outcome& outcome : outcomes) {
    update.bind(1, outcome.failed ? 1 : 0);
    update.bind(2, outcome.json);
    update.bind(3, outcome.number);
    if (update.exec() != 1)
      return fail(ErrorCode::kInternal, fmt::format("line {} had an outcome already", outcome.number));
    update.reset();
  }
  return {};
}

std::uint64_t unsigned_column(SQLite::Statement& row, int column) {
  return static_cast<std::uint64_t>(row.getColumn(column).getInt64());
}

}  // namespace

Store::Store(std::unique_ptr<SQLite::Database> database) : database_(std::move(database)) {}
Store::Store(Store&&) noexcept = default;
Store::~Store() = default;

Result<Store> Store::open(const std::filesystem::path& path, const std::string& input) {
  return guarded(path.string(), [&]() -> Result<Store> {
    auto database = open_database(path.string());
    SQLite::Transaction transaction(*database, SQLite::TransactionBehavior::IMMEDIATE);
    BRIMFUL_TRY_VOID(leave_other_formats(*database));
    database->exec("CREATE TABLE IF NOT EXISTS batch (input TEXT NOT NULL)");
    database->exec(
        "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL, shown TEXT NOT "
        "NULL)");
    database->exec("CREATE TABLE IF NOT EXISTS choices (name TEXT PRIMARY KEY, value TEXT NOT NULL)");
    database->exec(
        "CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, custom_id TEXT UNIQUE, offset INTEGER "
        "NOT "
        "NULL, bytes INTEGER NOT NULL, prompt INTEGER NOT NULL, tokens INTEGER NOT NULL, failed INTEGER, "
        "outcome "
        "TEXT)");
    std::optional<std::string> known;
    {
      SQLite::Statement select(*database, "SELECT input FROM batch");
      if (select.executeStep()) known = select.getColumn(0).getString();
    }
    if (known && *known != input) {
      if (has_outcomes(*database)) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("{}: belongs to another input: use another output, or remove it to start again",
                        path.string()));
      }
      for (const char* const table : {"batch", "lines", "settings", "choices"})
        database->exec(fmt::format("DELETE FROM {}", table));
      known.reset();
    }
    if (!known) {
      SQLite::Statement insert(*database, "INSERT INTO batch VALUES (?)");
      insert.bind(1, input);
      insert.exec();
    }
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

Status Store::add(std::span<const Line> lines, std::span<const Outcome> outcomes, const Settings& settings) {
  return guarded(database_->getFilename(), [&]() -> Status {
    SQLite::Transaction transaction(*database_);
    SQLite::Statement insert(
        *database_,
        "INSERT INTO lines (number, custom_id, offset, bytes, prompt, tokens) VALUES (?, ?, ?, ?, ?, ?)");
    for (const Line& line : lines) {
      insert.bind(1, line.number);
      line.custom_id ? insert.bind(2, *line.custom_id) : insert.bind(2);
      insert.bind(3, static_cast<std::int64_t>(line.offset));
      insert.bind(4, static_cast<std::int64_t>(line.bytes));
      insert.bind(5, static_cast<std::int64_t>(line.prompt));
      insert.bind(6, static_cast<std::int64_t>(line.tokens));
      insert.exec();
      insert.reset();
    }
    BRIMFUL_TRY_VOID(insert_outcomes(*database_, outcomes));
    SQLite::Statement keep(*database_, "INSERT OR REPLACE INTO settings VALUES (?, ?, ?)");
    for (const Setting& setting : settings) {
      keep.bind(1, setting.name);
      keep.bind(2, setting.value);
      keep.bind(3, setting.shown);
      keep.exec();
      keep.reset();
    }
    transaction.commit();
    return {};
  });
}

Result<Settings> Store::settings() const {
  return guarded(database_->getFilename(), [&]() -> Result<Settings> {
    Settings out;
    SQLite::Statement select(*database_, "SELECT name, value, shown FROM settings");
    while (select.executeStep())
      out.push_back({select.getColumn(0).getString(), select.getColumn(1).getString(),
                     select.getColumn(2).getString()});
    return out;
  });
}

Status Store::keep_choice(const std::string& name, const std::string& value) {
  return guarded(database_->getFilename(), [&]() -> Status {
    SQLite::Statement insert(*database_, "INSERT OR REPLACE INTO choices VALUES (?, ?)");
    insert.bind(1, name);
    insert.bind(2, value);
    insert.exec();
    return {};
  });
}

Result<std::optional<std::string>> Store::choice(const std::string& name) const {
  return guarded(database_->getFilename(), [&]() -> Result<std::optional<std::string>> {
    SQLite::Statement select(*database_, "SELECT value FROM choices WHERE name = ?");
    select.bind(1, name);
    if (!select.executeStep()) return std::nullopt;
    return select.getColumn(0).getString();
  });
}

Status Store::begin_anew() {
  return guarded(database_->getFilename(), [&]() -> Status {
    SQLite::Transaction transaction(*database_);
    for (const char* const table : {"lines", "settings", "choices"})
      database_->exec(fmt::format("DELETE FROM {}", table));
    transaction.commit();
    return {};
  });
}

Result<Store::Counts> Store::counts() const {
  return guarded(database_->getFilename(), [&]() -> Result<Counts> {
    SQLite::Statement count(*database_,
                            "SELECT count(*), count(failed), coalesce(sum(failed), 0) FROM lines");
    count.executeStep();
    const std::int64_t failed = count.getColumn(2).getInt64();
    return Counts{count.getColumn(0).getInt64(), count.getColumn(1).getInt64() - failed, failed};
  });
}

Result<Store::Work> Store::work(std::uint64_t answer, std::uint64_t longest_prompt) const {
  return guarded(database_->getFilename(), [&]() -> Result<Work> {
    SQLite::Statement select(
        *database_,
        "SELECT count(*), coalesce(max(tokens), 0), coalesce(max(min(tokens, prompt + :answer)), 0), "
        "CAST(coalesce(avg(prompt), 0) AS INTEGER), CAST(coalesce(avg(tokens), 0) AS INTEGER) FROM lines "
        "WHERE "
        "failed IS NULL AND prompt <= :longest");
    select.bind(":answer", static_cast<std::int64_t>(answer));
    select.bind(":longest", static_cast<std::int64_t>(longest_prompt));
    select.executeStep();
    return Work{select.getColumn(0).getInt64(), unsigned_column(select, 1), unsigned_column(select, 2),
                unsigned_column(select, 3), unsigned_column(select, 4)};
  });
}

Result<std::vector<std::uint64_t>> Store::prompt_lengths() const {
  return guarded(database_->getFilename(), [&]() -> Result<std::vector<std::uint64_t>> {
    std::vector<std::uint64_t> out;
    SQLite::Statement select(*database_,
                             "SELECT DISTINCT prompt FROM lines WHERE failed IS NULL ORDER BY prompt");
    while (select.executeStep()) out.push_back(unsigned_column(select, 0));
    return out;
  });
}

Result<std::optional<Line>> Store::next(std::int64_t after) const {
  return guarded(database_->getFilename(), [&]() -> Result<std::optional<Line>> {
    SQLite::Statement select(
        *database_,
        "SELECT number, custom_id, offset, bytes, prompt, tokens FROM lines WHERE number > ? AND failed IS "
        "NULL ORDER BY number LIMIT 1");
    select.bind(1, after);
    if (!select.executeStep()) return std::nullopt;
    return Line{select.getColumn(0).getInt64(), select.getColumn(1).getString(), unsigned_column(select, 2),
                unsigned_column(select, 3),     unsigned_column(select, 4),      unsigned_column(select, 5)};
  });
}

Status Store::finish(std::span<const Outcome> outcomes) {
  if (outcomes.empty()) return {};
  return guarded(database_->getFilename(), [&]() -> Status {
    SQLite::Transaction transaction(*database_);
    BRIMFUL_TRY_VOID(insert_outcomes(*database_, outcomes));
    transaction.commit();
    return {};
  });
}

Status Store::for_each(std::optional<bool> failed,
                       const std::function<Status(const std::string& json)>& take) const {
  return guarded(database_->getFilename(), [&]() -> Status {
    SQLite::Statement select(*database_,
                             "SELECT outcome FROM lines WHERE failed = coalesce(?, failed) ORDER BY number");
    if (failed) select.bind(1, *failed ? 1 : 0);
    while (select.executeStep()) BRIMFUL_TRY_VOID(take(select.getColumn(0).getString()));
    return {};
  });
}

Status Store::take_away() {
  if (database_) path_ = database_->getFilename();
  database_.reset();  // this also removes SQLite's log
  std::error_code error;
  std::filesystem::remove(path_, error);
  if (!error) return {};
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be removed: {}", path_, error.message()));
}

}  // namespace brimful::batch

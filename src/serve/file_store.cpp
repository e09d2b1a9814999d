#include "serve/file_store.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>

#include "base/json_text.h"
#include "base/private_files.h"
#include "base/user_folders.h"
#include "batch/database.h"

namespace brimful::serve {
namespace {

using Json = FileStore::Json;

constexpr std::string_view kFile = "file-";  // The beginning of all ids of files.
constexpr const char* kOpen = "open";        // The kind of a batch that has not ended, in the database.
constexpr std::array kEnds = {"completed", "failed", "cancelled", "expired"};

/// Makes a new id of `prefix` and 96 random bits, which nobody can guess.
std::string new_id(std::string_view prefix) {
  std::random_device random;
  std::string out(prefix);
  for (int i = 0; i < 3; ++i) out += fmt::format("{:08x}", random());
  return out;
}

/// Returns the id of a file that a batch writes: `batch_1f` writes `file-1f-output` and `file-1f-errors`.
std::string file_of(const std::string& batch, const char* what) {
  return fmt::format("{}{}-{}", kFile, batch.substr(batch.find('_') + 1), what);
}

Json file_object(const std::string& id, const std::string& name, const std::string& purpose,
                 std::uint64_t bytes) {
  return {{"id", id},         {"object", "file"},   {"bytes", bytes},       {"created_at", unix_time()},
          {"filename", name}, {"purpose", purpose}, {"status", "processed"}};
}

/// Writes an object as JSON. Bytes that are not UTF-8 came from a client; they are replaced, so that the
/// object can be stored all the same.
std::string text_of(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void insert(SQLite::Database& database, const char* table, const Json& object, const std::string& kind) {
  SQLite::Statement statement(database,
                              fmt::format("INSERT INTO {} (id, kind, object) VALUES (?, ?, ?)", table));
  statement.bind(1, object["id"].get<std::string>());
  statement.bind(2, kind);
  statement.bind(3, text_of(object));
  statement.exec();
}

std::unexpected<Error> no_such(const char* table, const std::string& id) {
  return fail(ErrorCode::kNotFound,
              fmt::format("there is no {} '{}'", std::string_view(table) == "files" ? "file" : "batch", id));
}

}  // namespace

std::int64_t unix_time() {
  const auto time = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(time).count();
}

std::string output_of(const std::string& batch) { return file_of(batch, "output"); }
std::string errors_of(const std::string& batch) { return file_of(batch, "errors"); }

bool has_ended(const Json& batch) {
  return std::ranges::find(kEnds, batch["status"].get<std::string>()) != kEnds.end();
}

template <typename Work>
auto FileStore::guarded(Work work) const -> decltype(work()) {
  const std::lock_guard lock(mutex_);
  return batch::guarded(database_->getFilename(), work);
}

FileStore::FileStore(std::filesystem::path folder, std::unique_ptr<SQLite::Database> database)
    : folder_(std::move(folder)), database_(std::move(database)) {}
FileStore::~FileStore() = default;

std::filesystem::path FileStore::usual_folder(int port) {
  return state_folder() / fmt::format("server-{}", port);
}

/// Removes contents that belong to no file. The files that an unfinished batch has written so far stay.
Status FileStore::remove_leftovers() {
  BRIMFUL_TRY(const auto open_ones, open_batches());
  const auto is_wanted = [&](const std::string& name) -> Result<bool> {
    if (std::ranges::any_of(open_ones, [&](const Json& batch) {
          return name.starts_with(output_of(batch["id"])) || name.starts_with(errors_of(batch["id"]));
        }))
      return true;
    return guarded([&]() -> Result<bool> { return object("files", name).has_value(); });
  };
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "files", error)) {
    const std::string name = entry.path().filename();
    BRIMFUL_TRY(const bool wanted, is_wanted(name));
    if (!wanted && name.starts_with(kFile)) std::filesystem::remove(entry.path(), error);
  }
  return {};
}

Result<std::unique_ptr<FileStore>> FileStore::open(const std::filesystem::path& folder) {
  // Other users must not see what clients ask and are answered.
  BRIMFUL_TRY_VOID(make_private_folder(folder));
  BRIMFUL_TRY_VOID(make_private_folder(folder / "files"));
  const std::string path = folder / "archive.sqlite";
  auto out = batch::guarded(path, [&]() -> Result<std::unique_ptr<FileStore>> {
    auto database = batch::open_database(path);
    SQLite::Transaction transaction(*database, SQLite::TransactionBehavior::IMMEDIATE);
    for (const char* const table : {"files", "batches"}) {
      database->exec(
          fmt::format("CREATE TABLE IF NOT EXISTS {} (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT "
                      "NULL UNIQUE, kind TEXT NOT NULL, object TEXT NOT NULL)",
                      table));
    }
    database->exec("CREATE TABLE IF NOT EXISTS attempts (id TEXT PRIMARY KEY, count INTEGER NOT NULL)");
    transaction.commit();
    return std::unique_ptr<FileStore>(new FileStore(folder, std::move(database)));
  });
  if (out) BRIMFUL_TRY_VOID((*out)->remove_leftovers());
  if (!out && out.error().code == ErrorCode::kInvalidArgument) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: another server is using this folder: name another one with --state",
                            folder.string()));
  }
  return out;
}

Result<Json> FileStore::object(const char* table, const std::string& id) const {
  SQLite::Statement select(*database_, fmt::format("SELECT object FROM {} WHERE id = ?", table));
  select.bind(1, id);
  if (!select.executeStep()) return no_such(table, id);
  return parse_ordered_json(select.getColumn(0).getString());
}

Result<FileStore::Page> FileStore::page(const char* table, const Select& select) const {
  std::int64_t after = select.oldest_first ? 0 : INT64_MAX;
  if (!select.after.empty()) {
    SQLite::Statement find(*database_, fmt::format("SELECT number FROM {} WHERE id = ?", table));
    find.bind(1, select.after);
    if (!find.executeStep()) return no_such(table, select.after);
    after = find.getColumn(0).getInt64();
  }
  SQLite::Statement some(
      *database_,
      fmt::format(
          "SELECT object FROM {} WHERE number {} ? AND (? = '' OR kind = ?) ORDER BY number {} LIMIT ?",
          table, select.oldest_first ? ">" : "<", select.oldest_first ? "ASC" : "DESC"));
  some.bind(1, after);
  some.bind(2, select.purpose);
  some.bind(3, select.purpose);
  some.bind(4, static_cast<std::int64_t>(select.limit + 1));
  Page out;
  while (some.executeStep()) {
    out.has_more = out.objects.size() == select.limit;
    if (out.has_more) continue;
    BRIMFUL_TRY(out.objects.emplace_back(), parse_ordered_json(some.getColumn(0).getString()));
  }
  return out;
}

// --- Files ---

Result<FileStore::Upload> FileStore::begin_upload() {
  std::string id = new_id(kFile);
  BRIMFUL_TRY(auto file, batch::WholeFile::create(content(id), 0600));
  return Upload{std::move(id), std::move(file)};
}

Result<Json> FileStore::keep(Upload upload, const std::string& name, const std::string& purpose) {
  BRIMFUL_TRY_VOID(upload.content.commit());
  auto kept = keep_content(upload.id, name, purpose);
  std::error_code error;
  if (!kept) std::filesystem::remove(content(upload.id), error);
  return kept;
}

Result<Json> FileStore::keep_content(const std::string& id, const std::string& name,
                                     const std::string& purpose) {
  std::error_code error;
  using std::filesystem::perms;
  std::filesystem::permissions(content(id), perms::owner_read | perms::owner_write, error);
  const auto bytes = error ? 0 : std::filesystem::file_size(content(id), error);
  if (error)
    return fail(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", content(id).string(), error.message()));
  return guarded([&]() -> Result<Json> {
    if (auto there = object("files", id)) return there;
    Json out = file_object(id, name, purpose, bytes);
    insert(*database_, "files", out, purpose);
    return out;
  });
}

Result<Json> FileStore::file(const std::string& id) const {
  return guarded([&] { return object("files", id); });
}

Result<FileStore::Page> FileStore::files(const Select& select) const {
  return guarded([&] { return page("files", select); });
}

Status FileStore::remove_file(const std::string& id) {
  BRIMFUL_TRY(const auto open_ones, open_batches());
  for (const Json& batch : open_ones) {
    if (batch["input_file_id"] != id) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} needs this file: cancel the batch first", batch["id"].get<std::string>()));
  }
  BRIMFUL_TRY_VOID(guarded([&]() -> Status {
    SQLite::Statement remove(*database_, "DELETE FROM files WHERE id = ?");
    remove.bind(1, id);
    return remove.exec() == 1 ? Status{} : no_such("files", id);
  }));
  std::error_code error;
  std::filesystem::remove(content(id), error);  // A content that is left over only takes space.
  return {};
}

// --- Batches ---

Result<Json> FileStore::add_batch(const Json& batch) {
  Json out = {{"id", new_id("batch_")}};
  out.update(batch);
  BRIMFUL_TRY_VOID(guarded([&]() -> Status {
    insert(*database_, "batches", out, kOpen);
    return {};
  }));
  ++changes_;
  return out;
}

Result<Json> FileStore::batch(const std::string& id) const {
  return guarded([&] { return object("batches", id); });
}

Result<FileStore::Page> FileStore::batches(const Select& select) const {
  return guarded([&] { return page("batches", select); });
}

Result<Json> FileStore::change_batch(const std::string& id, const std::function<Status(Json&)>& change) {
  auto out = guarded([&]() -> Result<Json> {
    BRIMFUL_TRY(Json batch, object("batches", id));
    BRIMFUL_TRY_VOID(change(batch));
    SQLite::Statement update(*database_, "UPDATE batches SET object = ?, kind = ? WHERE id = ?");
    update.bind(1, text_of(batch));
    update.bind(2, has_ended(batch) ? "" : kOpen);
    update.bind(3, id);
    update.exec();
    return batch;
  });
  ++changes_;
  return out;
}

Result<std::vector<Json>> FileStore::open_batches() const {
  return guarded([&]() -> Result<std::vector<Json>> {
    std::vector<Json> out;
    SQLite::Statement select(*database_, "SELECT object FROM batches WHERE kind = ? ORDER BY number");
    select.bind(1, kOpen);
    while (select.executeStep()) {
      BRIMFUL_TRY(out.emplace_back(), parse_ordered_json(select.getColumn(0).getString()));
    }
    return out;
  });
}

Result<int> FileStore::begin_attempt(const std::string& batch) {
  return guarded([&]() -> Result<int> {
    SQLite::Statement add(
        *database_,
        "INSERT INTO attempts (id, count) VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET count "
        "= count + 1 RETURNING count");
    add.bind(1, batch);
    if (!add.executeStep()) return fail(ErrorCode::kIo, "the store cannot count attempts");
    const int count = add.getColumn(0).getInt();
    while (add.executeStep()) {
    }
    return count;
  });
}

Status FileStore::end_attempt(const std::string& batch) {
  return guarded([&]() -> Status {
    SQLite::Statement remove(*database_, "DELETE FROM attempts WHERE id = ?");
    remove.bind(1, batch);
    remove.exec();
    return {};
  });
}

}  // namespace brimful::serve

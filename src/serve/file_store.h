#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "batch/line_file.h"

namespace SQLite {
class Database;
}

namespace brimful::serve {

/// Files that clients sent and batches left, and what is known of batches, as the objects of OpenAI's API. In
/// a folder: contents as plain files, the objects in SQLite (WAL, synced with each change), so that what was
/// answered once is there after any crash. One process at a time. Errors of all calls: kIo, and kNoSpace
/// where the disk is full: nothing has changed then. Threading: any.
class FileStore {
 public:
  using Json = nlohmann::ordered_json;

  /// Of a server at this port: in state_folder().
  [[nodiscard]] static std::filesystem::path usual_folder(int port);

  /// Opens the folder, or makes it, closes it to other users, and removes from it what no object names:
  /// uploads that were broken off. Errors: kInvalidArgument where another process has it; kUnsupported where
  /// other users could have written into it.
  [[nodiscard]] static Result<std::unique_ptr<FileStore>> open(const std::filesystem::path& folder);
  ~FileStore();
  FileStore(const FileStore&) = delete;
  FileStore& operator=(const FileStore&) = delete;

  /// Which objects, newest first; those behind `after`, where it is not empty.
  struct Select {
    std::string after;
    std::size_t limit = 20;
    bool oldest_first = false;
    std::string purpose;  ///< of files; empty: any
  };
  struct Page {
    std::vector<Json> objects;
    bool has_more = false;
  };

  // --- Files ---

  /// Takes content in; it is a file when keep() has been called.
  struct Upload {
    std::string id;
    batch::WholeFile content;
  };
  [[nodiscard]] Result<Upload> begin_upload();
  /// Of a file that is whole. Returns its object.
  [[nodiscard]] Result<Json> keep(Upload upload, const std::string& name, const std::string& purpose);
  /// As keep(), for content that is there already; again for the same id: nothing changes.
  [[nodiscard]] Result<Json> keep_content(const std::string& id, const std::string& name,
                                          const std::string& purpose);
  /// Errors: kNotFound.
  [[nodiscard]] Result<Json> file(const std::string& id) const;
  [[nodiscard]] Result<Page> files(const Select& select) const;
  /// Errors: kNotFound; kInvalidArgument where a batch that has not ended needs it.
  [[nodiscard]] Status remove_file(const std::string& id);
  /// Where its bytes are, whether there are any or not.
  [[nodiscard]] std::filesystem::path content(const std::string& id) const { return folder_ / "files" / id; }

  // --- Batches ---

  /// `batch`: the object, without id. Returns it with one.
  [[nodiscard]] Result<Json> add_batch(Json batch);
  /// Errors: kNotFound.
  [[nodiscard]] Result<Json> batch(const std::string& id) const;
  [[nodiscard]] Result<Page> batches(const Select& select) const;
  /// Reads, changes and writes the object; nobody else does meanwhile. Errors: kNotFound; those of `change`,
  /// and the object is as it was.
  [[nodiscard]] Result<Json> change_batch(const std::string& id, const std::function<Status(Json&)>& change);
  /// Those that have not ended, the oldest first.
  [[nodiscard]] Result<std::vector<Json>> open_batches() const;
  /// Counts that a batch is taken up, before anything of it is read. Returns how often that was, this time
  /// included, since end_attempt(): more than once where the process ended in between.
  [[nodiscard]] Result<int> begin_attempt(const std::string& batch);
  /// The batch made progress, or was left in order: it does not end the process.
  [[nodiscard]] Status end_attempt(const std::string& batch);
  /// Grows with each change of a batch.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

 private:
  FileStore(std::filesystem::path folder, std::unique_ptr<SQLite::Database> database);
  template <typename Work>
  auto guarded(Work work) const -> decltype(work());
  [[nodiscard]] Status remove_leftovers();
  [[nodiscard]] Result<Json> object(const char* table, const std::string& id) const;
  [[nodiscard]] Result<Page> page(const char* table, const Select& select) const;

  const std::filesystem::path folder_;
  mutable std::mutex mutex_;
  const std::unique_ptr<SQLite::Database> database_;
  std::atomic<std::uint64_t> changes_ = 1;
};

/// Ids of what a batch leaves.
[[nodiscard]] std::string output_of(const std::string& batch);
[[nodiscard]] std::string errors_of(const std::string& batch);

/// Of a batch: whether nothing more becomes of it.
[[nodiscard]] bool has_ended(const FileStore::Json& batch);

/// s since 1970.
[[nodiscard]] std::int64_t unix_time();

}  // namespace brimful::serve

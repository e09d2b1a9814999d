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

/// The files that clients sent, the files that batches wrote, and the batches themselves, as objects of
/// OpenAI's API. They lie in a folder: contents as plain files, and the objects in SQLite (WAL, synced with
/// each change), so that everything that a client was told survives any crash. Only one process at a time
/// can open a folder.
/// Errors of all functions: kIo; kNoSpace when the disk is full. Nothing has changed then.
/// Threading: any number of threads.
class FileStore {
 public:
  using Json = nlohmann::ordered_json;

  /// The default folder for a server at this port: `server-PORT` in state_folder().
  [[nodiscard]] static std::filesystem::path usual_folder(int port);

  /// Opens the folder, and creates it when it is missing. It is closed to other users, and files that belong
  /// to no object are removed: uploads that were broken off.
  /// Errors: kInvalidArgument when another process has opened it; kUnsupported when other users could have
  /// written into it.
  [[nodiscard]] static Result<std::unique_ptr<FileStore>> open(const std::filesystem::path& folder);
  ~FileStore();
  FileStore(const FileStore&) = delete;
  FileStore& operator=(const FileStore&) = delete;

  /// A choice of objects for a list.
  struct Select {
    /// The id of the object behind which the list begins; empty: it begins with the first one.
    std::string after;
    /// The most objects of the list.
    std::size_t limit = 20;
    /// The order of the list: the newest first, unless this is set.
    bool oldest_first = false;
    /// The purpose of files; empty: files of any purpose. It is meant for files only.
    std::string purpose;
  };
  /// A list of objects, and whether others come behind it.
  struct Page {
    std::vector<Json> objects;
    bool has_more = false;
  };

  // --- Files ---

  /// A file whose content is still arriving. The caller writes it to `content`, and then calls keep().
  /// Without keep() the content is dropped.
  struct Upload {
    std::string id;
    batch::WholeFile content;
  };
  /// Starts an upload with a new id.
  [[nodiscard]] Result<Upload> begin_upload();
  /// Ends an upload whose content is complete, and makes it a file. Returns its object.
  [[nodiscard]] Result<Json> keep(Upload upload, const std::string& name, const std::string& purpose);
  /// Does the same for content that is in its place already. When the id has an object already, that object
  /// is returned and nothing changes.
  [[nodiscard]] Result<Json> keep_content(const std::string& id, const std::string& name,
                                          const std::string& purpose);
  /// Returns the object of a file. Errors: kNotFound.
  [[nodiscard]] Result<Json> file(const std::string& id) const;
  /// Lists files. Errors: kNotFound when there is no object with the id select.after.
  [[nodiscard]] Result<Page> files(const Select& select) const;
  /// Removes a file and its content. Errors: kNotFound; kInvalidArgument when a batch that has not ended
  /// needs it.
  [[nodiscard]] Status remove_file(const std::string& id);
  /// The path of a file's content. The file need not exist.
  [[nodiscard]] std::filesystem::path content(const std::string& id) const { return folder_ / "files" / id; }

  // --- Batches ---

  /// Adds a batch. `batch` is its object without an id. Returns the object with its new id.
  [[nodiscard]] Result<Json> add_batch(const Json& batch);
  /// Returns the object of a batch. Errors: kNotFound.
  [[nodiscard]] Result<Json> batch(const std::string& id) const;
  /// Lists batches. Errors: kNotFound when there is no object with the id select.after.
  [[nodiscard]] Result<Page> batches(const Select& select) const;
  /// Reads the object of a batch, calls `change` on it, and writes it back. No other thread can change it
  /// meanwhile.
  /// Errors: kNotFound; those of `change`, after which the object is unchanged.
  [[nodiscard]] Result<Json> change_batch(const std::string& id, const std::function<Status(Json&)>& change);
  /// Returns the batches that have not ended, the oldest first.
  [[nodiscard]] Result<std::vector<Json>> open_batches() const;
  /// Counts an attempt to compute a batch, before anything of it is read. Returns the number of attempts
  /// since the last end_attempt(), this one included. It is more than 1 when the process ended during an
  /// earlier attempt.
  [[nodiscard]] Result<int> begin_attempt(const std::string& batch);
  /// Sets the number of attempts back to 0: the batch made progress, or was left in order, so it is not the
  /// batch that ends the process.
  [[nodiscard]] Status end_attempt(const std::string& batch);
  /// A number that grows with each change of any batch.
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

// The ids of the two files that a batch writes.
[[nodiscard]] std::string output_of(const std::string& batch);
[[nodiscard]] std::string errors_of(const std::string& batch);

/// Whether a batch has its final status: completed, failed, cancelled or expired.
[[nodiscard]] bool has_ended(const FileStore::Json& batch);

/// The time now in seconds since 1970.
[[nodiscard]] std::int64_t unix_time();

}  // namespace brimful::serve

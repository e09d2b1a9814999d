#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "batch/job.h"

namespace brimful::cli {

/// A file, and the flag that names it.
struct NamedFile {
  std::string flag;
  std::filesystem::path path;
};

/// Errors: kInvalidArgument where one of the files that a batch writes, those beside its output included, is
/// the same as another one or as one of `read`: by name, through links, or as the same open pipe.
[[nodiscard]] Status check_distinct(const batch::JobFiles& files, const std::vector<NamedFile>& read,
                                    const std::vector<NamedFile>& also_written);

/// The files of a batch, once streams have been looked at: an input that is a stream is read to its end and
/// kept beside the journal; the journal of an output that is a stream lies in the state folder, under a name
/// that follows from the requests and the settings, so that the same command finds it again.
class BatchFiles {
 public:
  /// `files`: those of the shard. Errors: those of batch::keep_stream() and batch::read_lines(); kIo where
  /// the state folder cannot be made.
  [[nodiscard]] static Result<BatchFiles> prepare(batch::JobFiles files, const batch::Shard& shard,
                                                  const std::string& fingerprint,
                                                  const batch::Job::Watch& watch);
  BatchFiles(BatchFiles&& other) noexcept;
  BatchFiles& operator=(BatchFiles&&) = delete;
  /// Removes the copy of a stream that no journal has taken over.
  ~BatchFiles();

  [[nodiscard]] const batch::JobFiles& get() const { return files_; }

 private:
  BatchFiles() = default;

  batch::JobFiles files_;
  std::filesystem::path copy_;  // of the input; empty: there is none
};

/// Where the journals of outputs that are streams lie: `batches` in state_folder().
[[nodiscard]] std::filesystem::path journal_folder();

}  // namespace brimful::cli

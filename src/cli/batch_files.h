#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "batch/job.h"

namespace brimful::cli {

/// A file, with the flag that names it, for messages.
struct NamedFile {
  std::string flag;
  std::filesystem::path path;
};

/// Checks that a batch overwrites none of its files. The written files are those in `files`, the temporary
/// files beside them, and `also_written`; `read` are files that the batch reads.
/// Errors: kInvalidArgument when a written file is the same as another written file or as one of `read`: by
/// name, through links, or as the same pipe.
[[nodiscard]] Status check_distinct(const batch::JobFiles& files, const std::vector<NamedFile>& read,
                                    const std::vector<NamedFile>& also_written);

/// The files of a batch whose input or output may be a stream. An input that is a stream is read to its end
/// and kept beside the journal. When the output is a stream, the journal lies in the state folder; its name
/// is computed from the requests and the settings, so that the same command finds it again. Move-only.
class BatchFiles {
 public:
  /// `files` are the files of the shard; `fingerprint` is that of the settings.
  /// Errors: those of batch::keep_stream() and batch::read_lines(); kIo when the state folder cannot be
  /// created.
  /// Blocks: until an input that is a stream has ended, or watch.stopped says so.
  [[nodiscard]] static Result<BatchFiles> prepare(batch::JobFiles files, const batch::Shard& shard,
                                                  const std::string& fingerprint,
                                                  const batch::Job::Watch& watch);
  BatchFiles(BatchFiles&& other) noexcept;
  BatchFiles& operator=(BatchFiles&&) = delete;
  /// Removes the copy of an input stream, unless a journal has taken it over.
  ~BatchFiles();

  /// The files with which the job is opened.
  [[nodiscard]] const batch::JobFiles& get() const { return files_; }

 private:
  BatchFiles() = default;

  batch::JobFiles files_;
  std::filesystem::path copy_;  // The copy of the input; empty when there is none.
};

/// The folder with the journals of batches whose output is a stream: `batches` in state_folder().
[[nodiscard]] std::filesystem::path journal_folder();

}  // namespace brimful::cli

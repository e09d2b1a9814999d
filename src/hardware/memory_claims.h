#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/result.h"
#include "hardware/host_budget.h"

namespace brimful::hardware {

/// A message from this process to the other processes of this program about the memory that it will take.
///
/// Each process keeps a file in a folder that only its user may enter. The file is locked (flock) as long as
/// the process lives, so a file that can be locked is stale, and is removed. One more lock makes the
/// processes decide one after the other: the process that holds it sees what all others have decided.
/// Threading: one thread at a time.
class MemoryClaim {
 public:
  /// Announces that this process starts and has not decided yet. `folder` exists, and belongs to this user
  /// alone.
  /// Errors: kIo.
  [[nodiscard]] static Result<std::unique_ptr<MemoryClaim>> announce(const std::filesystem::path& folder);

  /// Removes the claim: the others no longer count it.
  ~MemoryClaim();
  MemoryClaim(const MemoryClaim&) = delete;
  MemoryClaim& operator=(const MemoryClaim&) = delete;

  /// The claims of the other processes at one moment.
  struct Others {
    /// One entry for each process that has decided.
    std::vector<OtherInstance> decided;
    /// The number of claims that are announced and not decided yet.
    std::uint32_t starting = 0;
  };

  /// Takes the lock for deciding, and then reads what the others have decided. The other processes wait
  /// until settle(). Another claim of this same process is no reason to wait.
  /// Blocks: until no other process decides, but at most 30 s, because a process may be stopped while it
  /// decides.
  [[nodiscard]] Others begin_to_decide();
  /// Tells the others the most memory that this process will hold. They still wait for settle().
  void promise(Bytes most);
  /// Releases the lock, so that the next process can decide.
  void settle();

  /// Reads the claims in `folder` for a process that makes no claim itself. The result is empty when the
  /// folder cannot be read.
  [[nodiscard]] static Others read(const std::filesystem::path& folder);

 private:
  MemoryClaim(std::filesystem::path folder, std::filesystem::path file, int descriptor)
      : folder_(std::move(folder)), file_(std::move(file)), descriptor_(descriptor) {}
  [[nodiscard]] static Others read(const std::filesystem::path& folder, const std::filesystem::path& own);

  const std::filesystem::path folder_;
  const std::filesystem::path file_;
  const int descriptor_;
  /// The descriptor of the lock for deciding while this claim holds it; else -1.
  int deciding_ = -1;
};

}  // namespace brimful::hardware

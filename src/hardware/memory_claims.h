#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/result.h"
#include "hardware/host_budget.h"

namespace brimful::hardware {

/// What processes of this program tell one another about the memory that they will take.
///
/// Each process keeps a file in a folder that only its user may enter. The file is locked (flock) as long as
/// the process lives, so a file that can be locked is stale, and is removed. One more lock lets processes
/// decide one after the other: whoever holds it sees what all others have decided.
/// Threading: one thread at a time.
class MemoryClaim {
 public:
  /// Announces that this process starts and has decided nothing yet. `folder` exists, and belongs to this
  /// user alone. Errors: kIo.
  [[nodiscard]] static Result<std::unique_ptr<MemoryClaim>> announce(const std::filesystem::path& folder);
  /// Takes the claim back.
  ~MemoryClaim();
  MemoryClaim(const MemoryClaim&) = delete;
  MemoryClaim& operator=(const MemoryClaim&) = delete;

  /// The others' claims, as they are now.
  struct Others {
    std::vector<OtherInstance> decided;
    std::uint32_t starting = 0;
  };

  /// Waits until no other process decides, but 30 s at most: a process may be stopped while it decides. Then
  /// reads what the others have decided. Until settle(), others wait.
  [[nodiscard]] Others begin_to_decide();
  /// Tells the others the most that this process will hold. Others still wait.
  void promise(Bytes most);
  /// Lets the others decide.
  void settle();

  /// Reads the claims in `folder` for a process that takes nothing itself. None where it cannot be read.
  [[nodiscard]] static Others read(const std::filesystem::path& folder);

 private:
  MemoryClaim(std::filesystem::path folder, std::filesystem::path file, int descriptor)
      : folder_(std::move(folder)), file_(std::move(file)), descriptor_(descriptor) {}
  [[nodiscard]] static Others read(const std::filesystem::path& folder, const std::filesystem::path& own);

  const std::filesystem::path folder_;
  const std::filesystem::path file_;
  const int descriptor_;
  int deciding_ = -1;  // the lock of all, while this process holds it
};

}  // namespace brimful::hardware

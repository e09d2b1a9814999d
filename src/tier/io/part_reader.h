#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "tier/io/disk_reader.h"

namespace brimful::tier {

/// A stretch of a file that begins anywhere, and where its bytes go.
struct PartRead {
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
  Bytes bytes;
  std::byte* data = nullptr;      ///< where the first byte shall be
  std::byte* region = nullptr;    ///< plan::region_of(bytes) at a block, which may be written to; null: land
  std::uint32_t* left = nullptr;  ///< counted up now, and down when the bytes are there
};

/// Reads many parts at once. Bytes that did not arrive where they shall be are moved there. Threading: one
/// thread at a time. Reads go on between the calls, as far as they were submitted.
class PartReader {
 public:
  static constexpr std::size_t kDepth = 128;

  /// `landing`: plan::kLandings places for parts without a region.
  PartReader(std::unique_ptr<DiskReader> reader, std::byte* landing, Bytes size);
  ~PartReader();

  /// Submits the part, or keeps it until there is room.
  void queue(const PartRead& part);

  /// Blocks until `left` is 0. Errors: that of the first read that failed since drain(), of whichever part.
  [[nodiscard]] Status wait(const std::uint32_t& left);

  /// Blocks until a part has arrived. Errors: as wait(). Requires: one is on its way.
  [[nodiscard]] Status wait_for_one();

  /// Drops what has not been submitted, waits for the rest and forgets errors: every `left` is 0 then.
  void drain();

  [[nodiscard]] Bytes bytes_read() const { return bytes_read_; }  ///< whole blocks

 private:
  void submit();
  void take_one();

  std::unique_ptr<DiskReader> reader_;
  struct Flight {
    PartRead part;
    std::byte* landing = nullptr;
  };
  std::deque<PartRead> queued_;
  std::vector<Flight> in_flight_;     // by tag
  std::vector<std::uint32_t> free_;   // tags
  std::vector<std::byte*> landings_;  // free ones
  std::optional<Error> error_;
  Bytes bytes_read_;
};

}  // namespace brimful::tier

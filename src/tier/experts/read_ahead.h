#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace brimful::tier {

/// Decides how many of the experts that are guessed for the next step of a group are read ahead. A guess is
/// read while the disk has nothing else to do: after all reads of the step before. Two things bound them:
/// - a window: as many as were read in time lately. A read that is still under way when the next choice is
///   known delays the reads of that choice, if it was wrong. The window of a group grows by one when all
///   reads that it allowed were in time, and shrinks by one when one was not. At least one read is allowed.
/// - an allowance: what wrong guesses read is in the long run at most 3.5% of what steps missed.
/// It uses no clock: the same course of events leads to the same decisions. Threading: one thread at a time.
class ReadAhead {
 public:
  /// The number of guesses that may be read for the next step of `group`, if `wrong` of them, a share, will
  /// probably be wrong.
  [[nodiscard]] std::size_t allowed(std::uint32_t group, double wrong) const;

  /// What became of the guesses that were read for a step of a group.
  struct Outcome {
    std::size_t read = 0;
    /// Those that the step did not choose.
    std::size_t wrong = 0;
    /// Whether a read had not ended when the step began.
    bool late = false;
  };
  void tell(std::uint32_t group, const Outcome& outcome);
  /// Tells how many experts a step missed, whether it had guesses or not.
  void missed(std::size_t experts);

 private:
  // Indexed by group; 1 where nothing was told.
  std::vector<std::size_t> window_;
  // Unit: wrong guesses that may still be read. Negative where more were wrong than was to be expected.
  double allowance_ = 0;
};

}  // namespace brimful::tier

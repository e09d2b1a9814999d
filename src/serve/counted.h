#pragma once

#include <atomic>
#include <cstdint>

namespace brimful::serve {

/// A share of a counter that several threads share. The destructor subtracts the share again. Threading: one
/// owner at a time; the counter itself is atomic. Lifetime: the counter outlives this object.
class Counted {
 public:
  explicit Counted(std::atomic<std::uint64_t>& all, std::uint64_t count = 0) : all_(all) { add(count); }
  ~Counted() { all_ -= count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  /// Adds to the share and to the counter. Returns the new value of the counter.
  std::uint64_t add(std::uint64_t count) {
    count_ += count;
    return all_ += count;
  }

 private:
  std::atomic<std::uint64_t>& all_;
  std::uint64_t count_ = 0;
};

}  // namespace brimful::serve

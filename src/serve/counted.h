#pragma once

#include <atomic>
#include <cstdint>

namespace brimful::serve {

/// A part of a number that several threads share, given back when this goes. Threading: one owner.
class Counted {
 public:
  explicit Counted(std::atomic<std::uint64_t>& all, std::uint64_t count = 0) : all_(all) { add(count); }
  ~Counted() { all_ -= count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  /// What all of them are then.
  std::uint64_t add(std::uint64_t count) {
    count_ += count;
    return all_ += count;
  }

 private:
  std::atomic<std::uint64_t>& all_;
  std::uint64_t count_ = 0;
};

}  // namespace brimful::serve

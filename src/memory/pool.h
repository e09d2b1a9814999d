#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::memory {

/// Who holds bytes. Shown to people, in this order.
enum class Tag { kWeights, kExperts, kRing, kKvCache, kCompute, kDraft, kRuntime };

[[nodiscard]] std::string_view to_string(Tag tag);

class Pool;

/// Bytes claimed from a Pool; gives them back when destroyed. Move-only.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation();

  [[nodiscard]] Bytes bytes() const { return bytes_; }

 private:
  friend class Pool;
  Reservation(Pool* pool, Tag tag, Bytes bytes) : pool_(pool), tag_(tag), bytes_(bytes) {}

  Pool* pool_ = nullptr;
  Tag tag_ = Tag::kRuntime;
  Bytes bytes_;
};

/// Byte accounting for one memory tier. A Pool counts; it never allocates.
/// Invariant: reserved() <= capacity(), exactly, at every moment. Thread-safe.
class Pool {
 public:
  /// `name` is the tier's, for messages: "host".
  Pool(std::string name, Bytes capacity);
  /// A part of `parent`, which outlives it: what is claimed here is claimed there, too, for `tag`.
  Pool(std::string name, Pool& parent, Tag tag);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Claims exactly `bytes`; no rounding.
  /// Errors: kBudgetExceeded: nothing was claimed; the message lists what every tag holds.
  /// Blocks: never. Lifetime: the Pool must outlive the Reservation.
  [[nodiscard]] Result<Reservation> reserve(Bytes bytes, Tag tag);

  /// Of a part: its parent's.
  [[nodiscard]] Bytes capacity() const;
  /// Errors: kBudgetExceeded where more than that is reserved; the capacity is then what it was.
  /// Requires: not a part of another.
  [[nodiscard]] Status resize(Bytes capacity);
  [[nodiscard]] Bytes reserved() const;
  [[nodiscard]] Bytes reserved(Tag tag) const;

 private:
  friend class Reservation;
  [[nodiscard]] Status claim(Bytes bytes, Tag tag);
  void release(Bytes bytes, Tag tag);
  [[nodiscard]] std::string account() const;  // requires mutex_

  static constexpr std::size_t kTags = 7;
  const std::string name_;
  Pool* const parent_ = nullptr;
  const Tag tag_in_parent_ = Tag::kRuntime;
  mutable std::mutex mutex_;
  Bytes capacity_;  // unused in a part
  Bytes held_[kTags];
  Bytes total_;
};

}  // namespace brimful::memory

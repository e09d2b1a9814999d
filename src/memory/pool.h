#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::memory {

/// What bytes are held for. People see the tags in this order.
enum class Tag { kWeights, kExperts, kRing, kKvCache, kCompute, kDraft, kRuntime };

[[nodiscard]] std::string_view to_string(Tag tag);

class Pool;

/// Bytes that are claimed from a Pool. The destructor gives them back. Move-only.
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
  /// `name` is the name of the tier in messages, such as "host".
  Pool(std::string name, Bytes capacity);
  /// Makes a part of `parent`, which must outlive it: what is claimed from the part is also claimed from
  /// `parent`, for `tag`.
  Pool(std::string name, Pool& parent, Tag tag);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Claims exactly `bytes`; no rounding.
  /// Errors: kBudgetExceeded. Nothing was claimed then; the message lists what every tag holds.
  /// Blocks: never. Lifetime: the Pool must outlive the Reservation.
  [[nodiscard]] Result<Reservation> reserve(Bytes bytes, Tag tag);

  /// The capacity in bytes. A part has the capacity of its parent.
  [[nodiscard]] Bytes capacity() const;
  /// Changes the capacity. Errors: kBudgetExceeded where more than `capacity` is reserved; the capacity stays
  /// as it was. Requires: the pool is not a part of another.
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
  // Not used in a part.
  Bytes capacity_;
  Bytes held_[kTags];
  Bytes total_;
};

}  // namespace brimful::memory

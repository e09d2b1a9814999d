#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::memory {

/// Who holds bytes. Shown to people, in this order.
enum class Owner { kWeights, kExperts, kRing, kKvCache, kCompute, kDraft, kRuntime };

[[nodiscard]] std::string_view to_string(Owner owner);

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
  Reservation(Pool* pool, Owner owner, Bytes bytes) : pool_(pool), owner_(owner), bytes_(bytes) {}

  Pool* pool_ = nullptr;
  Owner owner_ = Owner::kRuntime;
  Bytes bytes_;
};

/// Byte accounting for one memory tier. A Pool counts; it never allocates.
/// Invariant: reserved() <= capacity(), exactly, at every moment. Thread-safe.
class Pool {
 public:
  /// `name` is the tier's, for messages: "host".
  Pool(std::string name, Bytes capacity);
  /// A part of `parent`, which outlives it: what is claimed here is claimed there, too, for `owner`.
  Pool(std::string name, Pool& parent, Owner owner);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Claims exactly `bytes`; no rounding.
  /// Errors: kBudgetExceeded: nothing was claimed; the message lists what every owner holds.
  /// Blocks: never. Lifetime: the Pool must outlive the Reservation.
  [[nodiscard]] Result<Reservation> reserve(Bytes bytes, Owner owner);

  /// Of a part: its parent's.
  [[nodiscard]] Bytes capacity() const;
  /// Errors: kBudgetExceeded where more than that is reserved; the capacity is then what it was.
  /// Requires: not a part of another.
  [[nodiscard]] Status resize(Bytes capacity);
  [[nodiscard]] Bytes reserved() const;
  [[nodiscard]] Bytes reserved(Owner owner) const;

 private:
  friend class Reservation;
  [[nodiscard]] Status claim(Bytes bytes, Owner owner);
  void release(Bytes bytes, Owner owner);
  [[nodiscard]] std::string account() const;  // requires mutex_

  static constexpr std::size_t kOwners = 7;
  const std::string name_;
  Pool* const parent_ = nullptr;
  const Owner owner_in_parent_ = Owner::kRuntime;
  mutable std::mutex mutex_;
  Bytes capacity_;  // unused in a part
  Bytes held_[kOwners];
  Bytes total_;
};

}  // namespace brimful::memory

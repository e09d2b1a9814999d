#include "memory/pool.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace brimful::memory {

std::string_view to_string(Owner owner) {
  switch (owner) {
    case Owner::kWeights: return "weights";
    case Owner::kExperts: return "experts";
    case Owner::kRing: return "ring";
    case Owner::kKvCache: return "KV cache";
    case Owner::kCompute: return "compute buffers";
    case Owner::kDraft: return "draft model";
    case Owner::kRuntime: return "runtime";
  }
  return "unknown";
}

Reservation::Reservation(Reservation&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      owner_(other.owner_),
      bytes_(std::exchange(other.bytes_, Bytes{})) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    if (pool_ != nullptr) pool_->release(bytes_, owner_);
    pool_ = std::exchange(other.pool_, nullptr);
    owner_ = other.owner_;
    bytes_ = std::exchange(other.bytes_, Bytes{});
  }
  return *this;
}

Reservation::~Reservation() {
  if (pool_ != nullptr) pool_->release(bytes_, owner_);
}

Pool::Pool(std::string name, Bytes capacity) : name_(std::move(name)), capacity_(capacity) {}

Pool::Pool(std::string name, Pool& parent, Owner owner)
    : name_(std::move(name)), parent_(&parent), owner_in_parent_(owner) {}

Bytes Pool::capacity() const {
  if (parent_ != nullptr) return parent_->capacity();
  const std::lock_guard lock(mutex_);
  return capacity_;
}

Status Pool::resize(Bytes capacity) {
  BRIMFUL_CHECK(parent_ == nullptr);
  const std::lock_guard lock(mutex_);
  if (total_ > capacity) {
    return fail(ErrorCode::kBudgetExceeded,
                fmt::format("the {} budget cannot be {}: {} are in use ({})", name_, format_bytes(capacity),
                            format_bytes(total_), account()));
  }
  capacity_ = capacity;
  return {};
}

Result<Reservation> Pool::reserve(Bytes bytes, Owner owner) {
  BRIMFUL_TRY_VOID(claim(bytes, owner));
  return Reservation(this, owner, bytes);
}

Status Pool::claim(Bytes bytes, Owner owner) {
  // What fits the parent fits here: what is held here is held there, too.
  if (parent_ != nullptr) BRIMFUL_TRY_VOID(parent_->claim(bytes, owner_in_parent_));
  const std::lock_guard lock(mutex_);
  if (const Bytes free = capacity_ - total_; parent_ == nullptr && bytes > free) {
    return fail(
        ErrorCode::kBudgetExceeded,
        fmt::format("{} more for {} pass the {} budget of {} by {} ({})", format_bytes(bytes),
                    to_string(owner), name_, format_bytes(capacity_), format_bytes(bytes - free), account()));
  }
  held_[static_cast<std::size_t>(owner)] += bytes;
  total_ += bytes;
  return {};
}

Bytes Pool::reserved() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

Bytes Pool::reserved(Owner owner) const {
  const std::lock_guard lock(mutex_);
  return held_[static_cast<std::size_t>(owner)];
}

void Pool::release(Bytes bytes, Owner owner) {
  {
    const std::lock_guard lock(mutex_);
    Bytes& held = held_[static_cast<std::size_t>(owner)];
    BRIMFUL_CHECK(bytes <= held);
    held -= bytes;
    total_ -= bytes;
  }
  if (parent_ != nullptr) parent_->release(bytes, owner_in_parent_);
}

std::string Pool::account() const {
  std::string text = "held:";
  for (std::size_t i = 0; i < kOwners; ++i) {
    if (held_[i].value == 0) continue;
    text += fmt::format(" {} {},", to_string(static_cast<Owner>(i)), format_bytes(held_[i]));
  }
  if (text.back() == ',') text.pop_back();
  return total_.value == 0 ? "nothing is held yet" : text;
}

}  // namespace brimful::memory

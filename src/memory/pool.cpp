#include "memory/pool.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace brimful::memory {

std::string_view to_string(Tag tag) {
  switch (tag) {
    case Tag::kWeights: return "weights";
    case Tag::kExperts: return "experts";
    case Tag::kRing: return "ring";
    case Tag::kKvCache: return "KV cache";
    case Tag::kCompute: return "compute buffers";
    case Tag::kDraft: return "draft model";
    case Tag::kRuntime: return "runtime";
  }
  return "unknown";
}

Reservation::Reservation(Reservation&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      tag_(other.tag_),
      bytes_(std::exchange(other.bytes_, Bytes{})) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    if (pool_ != nullptr) pool_->release(bytes_, tag_);
    pool_ = std::exchange(other.pool_, nullptr);
    tag_ = other.tag_;
    bytes_ = std::exchange(other.bytes_, Bytes{});
  }
  return *this;
}

Reservation::~Reservation() {
  if (pool_ != nullptr) pool_->release(bytes_, tag_);
}

Pool::Pool(std::string name, Bytes capacity) : name_(std::move(name)), capacity_(capacity) {}

Pool::Pool(std::string name, Pool& parent, Tag tag)
    : name_(std::move(name)), parent_(&parent), tag_in_parent_(tag) {}

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

Result<Reservation> Pool::reserve(Bytes bytes, Tag tag) {
  BRIMFUL_TRY_VOID(claim(bytes, tag));
  return Reservation(this, tag, bytes);
}

Status Pool::claim(Bytes bytes, Tag tag) {
  // What fits the parent fits here: everything that is held here is held there, too.
  if (parent_ != nullptr) BRIMFUL_TRY_VOID(parent_->claim(bytes, tag_in_parent_));
  const std::lock_guard lock(mutex_);
  if (const Bytes free = capacity_ - total_; parent_ == nullptr && bytes > free) {
    return fail(
        ErrorCode::kBudgetExceeded,
        fmt::format("{} more for {} exceed the {} budget of {} by {} ({})", format_bytes(bytes),
                    to_string(tag), name_, format_bytes(capacity_), format_bytes(bytes - free), account()));
  }
  held_[static_cast<std::size_t>(tag)] += bytes;
  total_ += bytes;
  return {};
}

Bytes Pool::reserved() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

Bytes Pool::reserved(Tag tag) const {
  const std::lock_guard lock(mutex_);
  return held_[static_cast<std::size_t>(tag)];
}

void Pool::release(Bytes bytes, Tag tag) {
  {
    const std::lock_guard lock(mutex_);
    Bytes& held = held_[static_cast<std::size_t>(tag)];
    BRIMFUL_CHECK(bytes <= held);
    held -= bytes;
    total_ -= bytes;
  }
  if (parent_ != nullptr) parent_->release(bytes, tag_in_parent_);
}

std::string Pool::account() const {
  std::string text = "held:";
  for (std::size_t i = 0; i < kTags; ++i) {
    if (held_[i].value == 0) continue;
    text += fmt::format(" {} {},", to_string(static_cast<Tag>(i)), format_bytes(held_[i]));
  }
  if (text.back() == ',') text.pop_back();
  return total_.value == 0 ? "nothing is held yet" : text;
}

}  // namespace brimful::memory

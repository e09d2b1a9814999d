#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace brimful::schedule {

/// Accounting for the cells of a KV cache that sequences share. Counts; touches no cache.
/// Invariant: free() + all reservations == capacity. Threading: one thread. Lifetime: outlives its
/// reservations.
class KvCells {
 public:
  explicit KvCells(std::uint32_t capacity) : capacity_(capacity), free_(capacity) {}
  KvCells(const KvCells&) = delete;
  KvCells& operator=(const KvCells&) = delete;

  /// KvCells claimed; gives them back when destroyed. Move-only.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept
        : cells_(std::exchange(other.cells_, nullptr)), count_(std::exchange(other.count_, 0)) {}
    Reservation& operator=(Reservation&& other) noexcept {
      std::swap(cells_, other.cells_);
      std::swap(count_, other.count_);
      return *this;
    }
    ~Reservation() {
      if (cells_ != nullptr) cells_->free_ += count_;
    }
    [[nodiscard]] std::uint32_t count() const { return count_; }
    /// `count` of them as a reservation of their own. Requires: there are so many.
    [[nodiscard]] Reservation split(std::uint32_t count) {
      Reservation out(cells_);
      out.count_ = count;
      count_ -= count;
      return out;
    }
    /// False, and nothing changed, where so many are not free.
    [[nodiscard]] bool extend(std::uint32_t more) {
      if (cells_ == nullptr || more > cells_->free_) return false;
      cells_->free_ -= more;
      count_ += more;
      return true;
    }

   private:
    friend class KvCells;
    explicit Reservation(KvCells* cells) : cells_(cells) {}
    KvCells* cells_ = nullptr;
    std::uint32_t count_ = 0;
  };

  /// What several texts begin with, each cell counted once: own cells behind those of `before`.
  struct SharedPrefix {
    Reservation cells;
    std::shared_ptr<SharedPrefix> before;

    [[nodiscard]] std::uint32_t size() const { return cells.count() + (before ? before->size() : 0); }
  };
  /// The first `count` cells of `all`, which is cut in two where a link of it ends behind them. Requires: it
  /// has as many.
  [[nodiscard]] static std::shared_ptr<SharedPrefix> first_of(const std::shared_ptr<SharedPrefix>& all,
                                                              std::uint32_t count) {
    if (count == 0) return nullptr;
    if (all->size() == count) return all;
    const std::uint32_t in_front = all->before ? all->before->size() : 0;
    if (count <= in_front) return first_of(all->before, count);
    all->before = std::make_shared<SharedPrefix>(all->cells.split(count - in_front), all->before);
    return all->before;
  }

  /// Nothing where so many are not free.
  [[nodiscard]] std::optional<Reservation> reserve(std::uint32_t count) {
    Reservation out(this);
    if (!out.extend(count)) return std::nullopt;
    return out;
  }
  [[nodiscard]] std::uint32_t free() const { return free_; }
  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }

 private:
  const std::uint32_t capacity_;
  std::uint32_t free_;
};

}  // namespace brimful::schedule

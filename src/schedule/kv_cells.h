#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace brimful::schedule {

/// Counts the cells of a KV cache that sequences share. It touches no cache.
/// Invariant: free() plus the cells of all reservations is the capacity. Not thread-safe: one thread uses it.
/// Lifetime: a KvCells outlives its reservations.
class KvCells {
 public:
  explicit KvCells(std::uint32_t capacity) : capacity_(capacity), free_(capacity) {}
  KvCells(const KvCells&) = delete;
  KvCells& operator=(const KvCells&) = delete;

  /// A number of claimed cells. The destructor gives them back. Move-only.
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
    /// Moves `count` of the cells into a reservation of their own, which is returned. Requires: this
    /// reservation has at least `count` cells.
    [[nodiscard]] Reservation split(std::uint32_t count) {
      Reservation out(cells_);
      out.count_ = count;
      count_ -= count;
      return out;
    }
    /// Claims `more` cells in addition. Returns false, and changes nothing, when fewer are free.
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

  /// A prefix that several texts share. It is a list of links: `cells` hold the last tokens of the prefix,
  /// and `before` holds all tokens in front of them (null: there are none). Each cell is counted once.
  struct SharedPrefix {
    Reservation cells;
    std::shared_ptr<SharedPrefix> before;

    [[nodiscard]] std::uint32_t size() const { return cells.count() + (before ? before->size() : 0); }
  };
  /// The prefix of the first `count` cells of `all`; null for 0. When `count` ends inside a link, that link
  /// is cut in two. Requires: `all` has at least `count` cells.
  [[nodiscard]] static std::shared_ptr<SharedPrefix> first_of(const std::shared_ptr<SharedPrefix>& all,
                                                              std::uint32_t count) {
    if (count == 0) return nullptr;
    if (all->size() == count) return all;
    const std::uint32_t in_front = all->before ? all->before->size() : 0;
    if (count <= in_front) return first_of(all->before, count);
    all->before = std::make_shared<SharedPrefix>(all->cells.split(count - in_front), all->before);
    return all->before;
  }

  /// Claims `count` cells. Returns nothing, and claims nothing, when fewer are free.
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

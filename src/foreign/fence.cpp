#include "foreign/fence.h"

#include <fmt/format.h>
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "foreign/escape.h"
#include "foreign/unwinding.h"

namespace brimful::foreign {
namespace {

constexpr std::size_t kHeader = 8;  // bytes that malloc needs for each block
// Bytes of stack for the code that runs after the stack limit is met.
constexpr std::size_t kLeftOfStack = 256 << 10;
// Bytes of stack that a library may fill.
constexpr std::size_t kMostOfStack = 2 << 20;
// Bytes. To fill a block of this size takes time, so the clock is checked for it.
constexpr std::size_t kLargeBlock = 4096;
// Number of allocations between two checks of the clock.
constexpr unsigned kBetweenLooks = 32;
// How often the frames of the stack are searched. That takes long for a deep stack.
constexpr unsigned kMostLooks = 10;
constexpr std::int64_t kWorthTrimming = 4 << 20;
constexpr std::chrono::milliseconds kUsualLongest{3500};

constinit thread_local Fence* current = nullptr;
std::atomic<std::uint64_t> lost{0};  // bytes that escapes have lost

const std::byte* floor_below(const void* frame) {
  const auto here = reinterpret_cast<std::uintptr_t>(frame);
  const auto end = reinterpret_cast<std::uintptr_t>(end_of_stack()) + kLeftOfStack;
  return reinterpret_cast<const std::byte*>(here > kMostOfStack ? std::max(end, here - kMostOfStack) : end);
}

/// It derives from bad_alloc, because `operator new` throws it.
struct FenceIsMet : std::bad_alloc {
  [[nodiscard]] const char* what() const noexcept override { return "the fence around this library is met"; }
};

}  // namespace

/// The functions that `operator new` and `operator delete` call. They are in a struct at namespace level,
/// because a nested one cannot be named there.
struct FenceHooks {
  /// Checks the limits for an allocation of `size` bytes. Returns whether a limit is met, now or earlier.
  static bool is_met_with(std::size_t size) {
    Fence& fence = *current;
    Escape::note_step();
    if (fence.hit_ == Fence::Hit::kNone) {
      if (fence.held_ > static_cast<std::int64_t>(fence.limits_.bytes.value) ||
          size >
              fence.limits_.bytes.value - static_cast<std::uint64_t>(std::max<std::int64_t>(fence.held_, 0)))
        fence.meet(Fence::Hit::kBytes);
      else if (static_cast<const std::byte*>(__builtin_frame_address(0)) < fence.floor_)
        fence.meet(Fence::Hit::kStack);
      else if ((size >= kLargeBlock || fence.until_look_-- == 0) && fence.time_is_up())
        fence.meet(Fence::Hit::kTime);
    }
    return fence.hit_ != Fence::Hit::kNone;
  }
  /// Throws, if an exception can leave the library here. While another exception is being thrown, and inside
  /// functions that must not throw, an exception would end the process. Allocations there are let through,
  /// and the next allocation outside throws. When the work goes on and on, it throws in any case, if an
  /// Escape leads out of it.
  static void end_the_work() {
    if (std::uncaught_exceptions() > 0) return;
    if (current->must_be_escaped() || can_unwind_to(current)) throw FenceIsMet();
  }
  static void after(void* block) {
    Fence& fence = *current;
    fence.held_ += static_cast<std::int64_t>(::malloc_usable_size(block) + kHeader);
    if (fence.held_ > fence.peak_) fence.peak_ = fence.held_;
  }
  static void freed(void* block) {
    Escape::note_step();
    current->held_ -= static_cast<std::int64_t>(::malloc_usable_size(block) + kHeader);
  }
};

std::chrono::nanoseconds processor_time_of_thread() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

namespace {

FenceLimits as_allowed(FenceLimits limits) {
  limits.may_escape = limits.may_escape && Escape::is_allowed();
  return limits;
}

}  // namespace

Fence::Fence(const FenceLimits& limits) noexcept
    : limits_(as_allowed(limits)),
      outer_(current),
      floor_(floor_below(__builtin_frame_address(0))),
      latest_(std::chrono::steady_clock::now() +
              limits.longest.value_or(std::max(kUsualLongest, limits.time))),
      look_(std::min(latest_, std::chrono::steady_clock::now() + limits.time - limits.used)),
      begin_(processor_time_of_thread()),
      until_look_(kBetweenLooks) {
  current = this;
}

Fence::~Fence() {
  current = outer_;
  if (outer_ == nullptr) return;
  outer_->peak_ = std::max(outer_->peak_, outer_->held_ + peak_);
  outer_->held_ += held_;
  if (outer_->hit_ == Hit::kNone) outer_->hit_ = hit_;
}

void Fence::meet(Hit hit) {
  hit_ = hit;
  Escape::note_fence_is_met();
}

std::chrono::nanoseconds Fence::time() const { return processor_time_of_thread() - begin_; }

void Fence::run(void (*function)(const void*), const void* argument) {
  const Escape::End end = Escape::run(function, argument);
  if (end == Escape::End::kReturned) return;
  current = this;  // the fences inside this one are gone
  lost += static_cast<std::uint64_t>(std::max<std::int64_t>(held_, 0));
  if (hit_ != Hit::kNone) return;
  switch (end) {
    case Escape::End::kLoop: return meet(Hit::kTime);
    case Escape::End::kStack: return meet(Hit::kStack);
    case Escape::End::kReturned:
    case Escape::End::kTerminate: return meet(Hit::kBytes);  // a fence inside this one was met
  }
}

bool Fence::must_be_escaped() {
  if (!limits_.may_escape) return false;
  return held_ > 2 * static_cast<std::int64_t>(limits_.bytes.value) || looked_for_way_++ >= kMostLooks;
}

bool Fence::time_is_up() {
  until_look_ = kBetweenLooks;
  const auto now = std::chrono::steady_clock::now();
  if (now < look_) return false;
  if (now >= latest_) return true;
  const auto left = limits_.time - limits_.used - time();
  if (left <= std::chrono::nanoseconds(0)) return true;
  look_ = std::min(latest_, now + left);
  return false;
}

std::string Fence::reason(Hit hit, const FenceLimits& limits) {
  switch (hit) {
    case Hit::kBytes: return fmt::format("it takes more than {} of memory", format_bytes(limits.bytes));
    case Hit::kTime: return fmt::format("it takes more than {} ms", limits.time.count());
    case Hit::kStack: return "its recursion is too deep";
    case Hit::kNone: break;
  }
  return "it ended by itself";
}

Bytes memory_lost_to_escapes() { return Bytes{lost}; }

void give_back_freed_memory(const Fence& fence) {
  if (fence.is_hit() || fence.peak() - fence.held() > kWorthTrimming) ::malloc_trim(0);
}

}  // namespace brimful::foreign

// ---- The program's operator new: malloc, and a check of this thread's fence, if it has one. ----

namespace {

/// Null when there is no memory.
void* allocate_or_null(std::size_t size, std::size_t alignment) noexcept {
  void* block = nullptr;
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) {
    block = std::malloc(size == 0 ? 1 : size);
  } else if (::posix_memalign(&block, alignment, size == 0 ? 1 : size) != 0) {
    block = nullptr;
  }
  if (block != nullptr && brimful::foreign::current != nullptr) brimful::foreign::FenceHooks::after(block);
  return block;
}

void* allocate(std::size_t size, std::size_t alignment) {
  if (brimful::foreign::current != nullptr && brimful::foreign::FenceHooks::is_met_with(size))
    brimful::foreign::FenceHooks::end_the_work();
  void* const block = allocate_or_null(size, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

/// For callers that accept null. It returns null inside a fence that is met.
void* allocate_if_free(std::size_t size, std::size_t alignment) noexcept {
  if (brimful::foreign::current != nullptr && brimful::foreign::FenceHooks::is_met_with(size)) return nullptr;
  return allocate_or_null(size, alignment);
}

void release(void* block) noexcept {
  if (block != nullptr && brimful::foreign::current != nullptr) brimful::foreign::FenceHooks::freed(block);
  std::free(block);
}

constexpr std::size_t kUsual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

void* operator new(std::size_t size) { return allocate(size, kUsual); }
void* operator new[](std::size_t size) { return allocate(size, kUsual); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate_if_free(size, kUsual);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return allocate_if_free(size, kUsual);
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate_if_free(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate_if_free(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t) noexcept { release(block); }
void operator delete(void* block, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept { release(block); }

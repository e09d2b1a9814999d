#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace brimful::foreign {

/// The processor time that this thread has used.
[[nodiscard]] std::chrono::nanoseconds processor_time_of_thread();

/// The limits of a call into a library.
struct FenceLimits {
  /// Bytes that are allocated inside the fence and live at the same time.
  Bytes bytes;
  /// Processor time of this thread.
  std::chrono::milliseconds time{std::chrono::seconds(1)};
  /// The part of `time` that was used before the call.
  std::chrono::milliseconds used{0};
  /// Wall-clock time since the call began; unset: `time`, but at least 3.5 s. A thread that is not running
  /// uses no processor time, but a client waits all the same.
  std::optional<std::chrono::milliseconds> longest;
  /// True: a loop or a recursion that allocates nothing is ended, too, where Escape is allowed. See Escape
  /// for what the library must guarantee.
  bool may_escape = false;
};

/// A fence around a call into a library that cannot be interrupted. A grammar, a JSON schema or a chat
/// template is a program, written by somebody unknown, and the library runs it. While a Fence lives, each
/// `operator new` of its thread checks three limits: the living bytes, the time, and the depth of the stack.
/// Beyond a limit, `operator new` throws, and it keeps throwing, because libraries catch exceptions and go
/// on. Inside a function that must not throw, above all a destructor, it lets allocations through, because an
/// exception there would end the process.
///
/// `operator new` sees neither a loop or a recursion that allocates nothing, nor code that calls malloc
/// directly. An Escape ends the former if the limits allow it; docs/design-untrusted.md lists how the rest is
/// bounded.
///
/// Threading: a fence belongs to the thread that made it. Fences nest: memory that the inner fence holds at
/// its end counts for the outer fence, and a limit that the inner fence met is met for the outer fence, too.
/// Invariant: a fence neither slows down nor ends other threads.
class Fence {
 public:
  explicit Fence(const FenceLimits& limits) noexcept;
  ~Fence();
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  /// Whether a limit was met. The result of the work inside the fence is worthless then, even if the library
  /// returned.
  [[nodiscard]] bool is_hit() const { return hit_ != Hit::kNone; }
  /// Bytes that the thread allocated inside the fence and still holds. Negative when it freed older memory.
  [[nodiscard]] std::int64_t held() const { return held_; }
  /// The largest value that held() ever had.
  [[nodiscard]] std::int64_t peak() const { return peak_; }

  /// Processor time of the thread since the fence began.
  [[nodiscard]] std::chrono::nanoseconds time() const;

  enum class Hit { kNone, kBytes, kTime, kStack };
  [[nodiscard]] Hit hit() const { return hit_; }
  /// Text for an error, for example "it takes more than 32 MiB of memory". It allocates: call it outside the
  /// fence.
  [[nodiscard]] static std::string reason(Hit hit, const FenceLimits& limits);
  /// Calls `work`, which must not throw. If the limits allow an Escape, work that does not end by itself is
  /// ended.
  template <typename F>
  void run(const F& work) {
    if (!limits_.may_escape) return work();
    run([](const void* any) { (*static_cast<const F*>(any))(); }, &work);
  }

 private:
  friend struct FenceHooks;

  void run(void (*function)(const void*), const void* argument);

  void meet(Hit hit);
  /// Whether the work goes on although many of its allocations were let through, or although it holds twice
  /// its limit.
  [[nodiscard]] bool must_be_escaped();
  [[nodiscard]] bool time_is_up();

  const FenceLimits limits_;
  Fence* const outer_;
  const std::byte* const floor_;  // the stack may not grow below this address
  const std::chrono::steady_clock::time_point latest_;
  // When the processor time is checked next.
  std::chrono::steady_clock::time_point look_;
  // Processor time of the thread when the fence began.
  const std::chrono::nanoseconds begin_;
  std::int64_t held_ = 0;
  std::int64_t peak_ = 0;
  // Number of allocations until the clock is read.
  unsigned until_look_ = 0;
  // How often the stack was searched for a way that an exception may take.
  unsigned looked_for_way_ = 0;
  Hit hit_ = Hit::kNone;
};

/// The beginning of an exception's text. It is kept without an allocation, because the fence may be met
/// already.
class KeptText {
 public:
  void keep(const char* text) { std::strncpy(text_.data(), text, text_.size() - 1); }
  [[nodiscard]] std::string text() const { return text_.data(); }

 private:
  std::array<char, 1024> text_{};
};

/// Memory that libraries held when an Escape ended them, in all. Nobody can free it. Thread-safe.
[[nodiscard]] Bytes memory_lost_to_escapes();

/// Gives freed memory back to the kernel, if the work inside the fence had freed much. Blocks for some
/// milliseconds.
void give_back_freed_memory(const Fence& fence);

/// Runs `f` inside a fence; `f` gets the Fence. Errors: kInvalidArgument. The message names the limit that
/// was met, or is the first KiB of the text that `f` threw. It has no prefix: the caller says what could not
/// be read.
template <typename F>
[[nodiscard]] auto fenced(const FenceLimits& limits, F&& f) -> Result<std::invoke_result_t<F, const Fence&>> {
  using Value = std::invoke_result_t<F, const Fence&>;
  KeptText thrown;
  Fence::Hit hit = Fence::Hit::kNone;
  const auto run = [&]() -> std::optional<Result<Value>> {
    Fence fence(limits);
    std::optional<Result<Value>> out;
    const auto work = [&] {
      try {
        if constexpr (std::is_void_v<Value>) {
          std::forward<F>(f)(fence);
          out.emplace();
        } else {
          out.emplace(std::forward<F>(f)(fence));
        }
      } catch (const std::exception& error) {
        thrown.keep(error.what());
      } catch (...) {
        thrown.keep("a library threw an object that is not an exception");
      }
    };
    fence.run(work);
    hit = fence.hit();
    if (hit != Fence::Hit::kNone) out.reset();
    give_back_freed_memory(fence);
    return out;
  };
  std::optional<Result<Value>> out = run();
  if (out) return std::move(*out);
  return fail(ErrorCode::kInvalidArgument,
              hit != Fence::Hit::kNone ? Fence::reason(hit, limits) : thrown.text());
}

}  // namespace brimful::foreign

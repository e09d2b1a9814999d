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

/// Processor time that this thread has used.
[[nodiscard]] std::chrono::nanoseconds processor_time_of_thread();

/// What a call into a library may take.
struct FenceLimits {
  Bytes bytes;                                              ///< live at once, allocated inside the fence
  std::chrono::milliseconds time{std::chrono::seconds(1)};  ///< of this thread's processor time
  std::chrono::milliseconds used{0};                        ///< of that time, before the call
  /// From the begin of the call, by the clock; unset: the time, and 3.5 s at least. A thread that is not
  /// running uses no processor time, but a client waits all the same.
  std::optional<std::chrono::milliseconds> longest;
  /// A loop or a recursion that allocates nothing is ended, too, where Escape is allowed: see there for what
  /// that asks of the library.
  bool may_escape = false;
};

/// A fence around a call into a library that cannot be interrupted: a grammar, a JSON schema or a chat
/// template is a program of its author, and the library runs it. While a Fence lives, each `operator new` of
/// its thread checks three limits: the bytes that live, the time, and the depth of the stack. Beyond a limit,
/// `operator new` throws, and keeps throwing, because libraries catch exceptions and go on. Inside a function
/// that must not throw, a destructor above all, it lets allocations through, since an exception would end the
/// process there.
///
/// `operator new` does not see a loop or a recursion that allocates nothing, nor what calls malloc directly:
/// an Escape ends the former where the limits allow it, and docs/design-untrusted.md lists how the rest is
/// bounded.
///
/// Threading: a fence belongs to the thread that made it. Fences nest: what the inner one holds at its end
/// counts for the outer one, and a limit that it met is met for the outer one, too. Invariant: other threads
/// never pay for a fence, and are never ended by it.
class Fence {
 public:
  explicit Fence(const FenceLimits& limits) noexcept;
  ~Fence();
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  /// Whether a limit was met. The work inside the fence is worthless then, even if the library returned.
  [[nodiscard]] bool is_hit() const { return hit_ != Hit::kNone; }
  /// Bytes that the thread allocated inside the fence and still holds. Negative when it freed older memory.
  [[nodiscard]] std::int64_t held() const { return held_; }
  /// The most that held() ever was.
  [[nodiscard]] std::int64_t peak() const { return peak_; }

  /// Processor time of the thread since the fence began.
  [[nodiscard]] std::chrono::nanoseconds time() const;

  enum class Hit { kNone, kBytes, kTime, kStack };
  [[nodiscard]] Hit hit() const { return hit_; }
  /// For an error, such as "it takes more than 32 MiB of memory". It allocates: call it outside the fence.
  [[nodiscard]] static std::string reason(Hit hit, const FenceLimits& limits);
  /// Calls `work`, which lets no exception out, and ends it where it does not end by itself.
  template <typename F>
  void run(const F& work) {
    if (!limits_.may_escape) return work();
    run([](const void* any) { (*static_cast<const F*>(any))(); }, &work);
  }

 private:
  friend struct FenceHooks;

  void run(void (*function)(const void*), const void* argument);

  void meet(Hit hit);
  /// Whether the work goes on although it has been let through again and again, or holds twice what it may.
  [[nodiscard]] bool must_be_escaped();
  [[nodiscard]] bool time_is_up();

  const FenceLimits limits_;
  Fence* const outer_;
  const std::byte* const floor_;  // the stack may not grow below this
  const std::chrono::steady_clock::time_point latest_;
  std::chrono::steady_clock::time_point look_;  // when the processor time is looked at next
  const std::chrono::nanoseconds begin_;        // processor time of the thread
  std::int64_t held_ = 0;
  std::int64_t peak_ = 0;
  unsigned until_look_ = 0;      // allocations until the clock is read
  unsigned looked_for_way_ = 0;  // times, for one that an exception may take
  Hit hit_ = Hit::kNone;
};

/// The begin of an exception's text, kept without an allocation: the fence may be met already.
class KeptText {
 public:
  void keep(const char* text) { std::strncpy(text_.data(), text, text_.size() - 1); }
  [[nodiscard]] std::string text() const { return text_.data(); }

 private:
  std::array<char, 1024> text_{};
};

/// What libraries held in all when an Escape ended them: nobody can free it.
[[nodiscard]] Bytes memory_lost_to_escapes();

/// Gives freed memory back to the kernel where a fence saw much of it. Blocks for some milliseconds.
void give_back_freed_memory(const Fence& fence);

/// Runs `f` inside a fence. Errors: kInvalidArgument with the limit that was met, or with the first KiB of
/// what `f` threw. The message has no prefix: the caller says what could not be read. `f` gets the Fence.
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
        thrown.keep("a library threw something that is no error");
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

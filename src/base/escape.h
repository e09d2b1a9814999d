#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace strata {

/// The lowest address of this thread's stack. Read once a thread: for the first one it costs a file.
[[nodiscard]] const std::byte* end_of_stack();

/// The way out of a library that neither returns nor allocates: a loop without an end, or a recursion that
/// fills the stack. A Fence sees neither. A signal of the kernel ends them: after so much processor time of
/// the thread, or when the stack is full, the thread jumps back to where the call was made.
///
/// No destructor runs for what is jumped over: the memory that the library held is lost. The thread only
/// jumps out of a loop in which it has not allocated or freed for kStill, and never while an exception is on
/// its way: it holds no lock of the heap then. So use this for a library that keeps no locks and no state
/// outside the objects of the call.
///
/// Threading: any thread; each has its own way out. Inner calls use the way out of the outer one.
class Escape {
 public:
  enum class End { kReturned, kLoop, kStack };

  /// Runs `function(argument)`, which lets no exception out. A loop is ended after `patience` of this
  /// thread's processor time. Where the system gives no timer, or no stack for signals, it is not ended.
  [[nodiscard]] static End run(void (*function)(const void*), const void* argument,
                               std::chrono::milliseconds patience) noexcept;

  /// The thread has allocated or freed: it is in no loop without an end.
  static void note_step() noexcept { ++steps_; }

 private:
  friend struct EscapeSignals;
  static inline constinit thread_local std::uint64_t steps_ = 0;
};

}  // namespace strata

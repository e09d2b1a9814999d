#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace brimful::foreign {

/// The lowest address of this thread's stack. It is read once for each thread; for the main thread that reads
/// a file.
[[nodiscard]] const std::byte* end_of_stack();

/// Ends a call into a library that neither returns nor allocates: an endless loop, or a recursion that fills
/// the stack. A Fence sees neither of them. A signal of the kernel ends them: when the thread has used 300 ms
/// of processor time without an allocation, or when its stack is full, the thread jumps back to the place of
/// the call.
/// The jump runs no destructor, so the memory that the library held is lost. The thread only jumps out of a
/// loop that has neither allocated nor freed for that long, and never while an exception is being thrown: so
/// it never holds a lock of the heap. Use this only for a library that holds no locks, and no state outside
/// the objects of the call.
/// Thread-safe: each thread has its own way out. A call inside another one uses the way out of the outer
/// call. An exception of a fence that reaches a function that must not throw would end the process: the
/// terminate handler jumps back instead.
class Escape {
 public:
  enum class End { kReturned, kLoop, kStack, kTerminate };

  /// Lets run() end what does not return, from now on: it installs handlers for SIGSEGV, SIGRTMIN+3 and
  /// std::terminate when it is first called. For a program, never for a library of another program.
  static void allow() noexcept { allowed_ = true; }
  [[nodiscard]] static bool is_allowed() noexcept { return allowed_; }

  /// Runs `function(argument)`, which must not throw. Requires: is_allowed(). When the system gives no timer
  /// or no signal stack, the call is not ended.
  [[nodiscard]] static End run(void (*function)(const void*), const void* argument) noexcept;

  /// The fence calls it when a limit is met. From then on, exceptions of this thread may come from the fence,
  /// and the terminate handler jumps back instead of ending the process.
  static void note_fence_is_met() noexcept { fence_is_met_ = true; }

  /// A step: this thread has allocated or freed memory.
  static void note_step() noexcept { ++steps_; }

 private:
  friend struct EscapeSignals;
  static inline constinit std::atomic<bool> allowed_ = false;
  static inline constinit thread_local std::uint64_t steps_ = 0;
  // It counts for the run() that the thread is in.
  static inline constinit thread_local bool fence_is_met_ = false;
};

}  // namespace brimful::foreign

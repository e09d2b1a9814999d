#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace brimful::foreign {

/// The lowest address of this thread's stack. Read once a thread: for the first one it costs a file.
[[nodiscard]] const std::byte* end_of_stack();

/// The way out of a library that neither returns nor allocates: a loop without an end, or a recursion that
/// fills the stack. A Fence sees neither. A signal of the kernel ends them: when the thread has used 300 ms
/// of processor time without a step, or when the stack is full, it jumps back to where the call was made.
///
/// No destructor runs for what is jumped over: the memory that the library held is lost. The thread only
/// jumps out of a loop in which it has not allocated or freed for so long, and never while an exception is on
/// its way: it holds no lock of the heap then. So use this for a library that keeps no locks and no state
/// outside the objects of the call.
///
/// Threading: any thread; each has its own way out. Inner calls use the way out of the outer one.
/// A fence's exception that meets a function that must not throw would end the process: the runtime's handler
/// jumps back instead.
class Escape {
 public:
  enum class End { kReturned, kLoop, kStack, kTerminate };

  /// Lets run() end what does not return, from now on: it installs handlers for SIGSEGV, SIGRTMIN+3 and
  /// std::terminate when it is first called. For a program, never for a library of another program.
  static void allow() noexcept { allowed_ = true; }
  [[nodiscard]] static bool is_allowed() noexcept { return allowed_; }

  /// Runs `function(argument)`, which lets no exception out. Requires: is_allowed(). Where the system gives
  /// no timer, or no stack for signals, nothing is ended.
  [[nodiscard]] static End run(void (*function)(const void*), const void* argument) noexcept;

  /// The exceptions that are thrown from here on come from a fence: the process need not end for one of them.
  static void note_fence_is_met() noexcept { fence_is_met_ = true; }

  /// A step: the thread has allocated or freed.
  static void note_step() noexcept { ++steps_; }

 private:
  friend struct EscapeSignals;
  static inline constinit std::atomic<bool> allowed_ = false;
  static inline constinit thread_local std::uint64_t steps_ = 0;
  static inline constinit thread_local bool fence_is_met_ =
      false;  // Counts for the run() that the thread is in.
};

}  // namespace brimful::foreign

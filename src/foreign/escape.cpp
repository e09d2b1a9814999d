#include "foreign/escape.h"

#include <cxxabi.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>

namespace brimful::foreign {
namespace {

constexpr std::chrono::milliseconds kTick{100};  // the timer counts processor time of the thread
constexpr int kMostStill = 3;                    // ticks without a step that show a loop
// Bytes below a stack. A fault there is a stack overflow.
constexpr std::size_t kGuard = 64 << 10;
// Bytes of the signal stack, in addition to those that the kernel needs.
constexpr std::size_t kForHandler = 16 << 10;
// Bytes of stack near the call that are not given back after an overflow.
constexpr std::size_t kOfFrames = 16 << 10;

/// The runtime's state of a thread's exceptions: __cxa_eh_globals of the Itanium C++ ABI, 2.2.2.
struct Exceptions {
  void* caught;
  unsigned int uncaught;
};
Exceptions& exceptions_of_thread() { return *reinterpret_cast<Exceptions*>(abi::__cxa_get_globals()); }

/// The place that a thread jumps back to.
struct Way {
  sigjmp_buf back;
  const std::byte* low = nullptr;   // the lowest address of the stack
  const std::byte* here = nullptr;  // the frame of the call
  std::uint64_t seen = UINT64_MAX;  // number of steps at the last tick of the timer
  int still = 0;                    // number of ticks since the last step
  Escape::End end = Escape::End::kReturned;
  Exceptions exceptions{};  // the state when the call began
};

constinit thread_local Way* way = nullptr;
struct sigaction before_us {};  // the handler of SIGSEGV before ours
std::terminate_handler terminate_before_us = nullptr;

[[noreturn]] void leave(Way& out, Escape::End end) {
  out.end = end;
  siglongjmp(out.back, 1);
}

int tick_signal() { return SIGRTMIN + 3; }

/// A stack for the handler that runs when the thread's stack is full. A thread that has such a stack already
/// keeps it.
class SignalStack {
 public:
  SignalStack() {
    stack_t now{};
    if (::sigaltstack(nullptr, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0) return;
    const long least = ::sysconf(_SC_MINSIGSTKSZ);
    const std::size_t size = kForHandler + static_cast<std::size_t>(std::max(least, long{MINSIGSTKSZ}));
    bytes_.reset(new (std::nothrow) std::byte[size]);
    if (bytes_ == nullptr) return;
    const stack_t own{.ss_sp = bytes_.get(), .ss_flags = 0, .ss_size = size};
    if (::sigaltstack(&own, nullptr) != 0) bytes_.reset();
  }
  ~SignalStack() {
    if (bytes_ == nullptr) return;
    const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    ::sigaltstack(&none, nullptr);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  std::unique_ptr<std::byte[]> bytes_;
};

/// A timer that sends a signal for each kTick of processor time of this thread.
class Timer {
 public:
  Timer() {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = tick_signal();
    event._sigev_un._tid = ::gettid();
    if (::timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer_) != 0) return;
    exists_ = true;
    const timespec tick{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(kTick).count()};
    const itimerspec times{.it_interval = tick, .it_value = tick};
    ::timer_settime(timer_, 0, &times, nullptr);
  }
  ~Timer() {
    if (exists_) ::timer_delete(timer_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  timer_t timer_{};
  bool exists_ = false;
};

/// Returns false when the thread jumped back. It is a function of its own, so that no variable of the caller
/// is kept in a register over the jump.
[[gnu::noinline]] bool returns(Way& out, void (*function)(const void*), const void* argument) {
  out.exceptions = exceptions_of_thread();
  if (sigsetjmp(out.back, 1) != 0) {
    exceptions_of_thread() = out.exceptions;  // exceptions of the abandoned call are gone
    return false;
  }
  function(argument);
  return true;
}

}  // namespace

const std::byte* end_of_stack() {
  thread_local const std::byte* const end = [] {
    pthread_attr_t attributes;
    void* base = nullptr;
    std::size_t size = 0;
    if (::pthread_getattr_np(::pthread_self(), &attributes) == 0) {
      ::pthread_attr_getstack(&attributes, &base, &size);
      ::pthread_attr_destroy(&attributes);
    }
    return static_cast<const std::byte*>(base);
  }();
  return end;
}

/// The signal handlers. They make only calls that a signal handler may make.
struct EscapeSignals {
  static void on_tick(int) {
    Way* const out = way;
    if (out == nullptr) return;
    out->still = out->seen == Escape::steps_ ? out->still + 1 : 0;
    out->seen = Escape::steps_;
    if (out->still >= kMostStill && std::uncaught_exceptions() == 0) leave(*out, Escape::End::kLoop);
  }
  static void on_fault(int signal, siginfo_t* info, void*) {
    Way* const out = way;
    const auto* const at = static_cast<const std::byte*>(info->si_addr);
    if (out != nullptr && at >= out->low - kGuard && at < out->here && std::uncaught_exceptions() == 0)
      leave(*out, Escape::End::kStack);
    ::sigaction(signal, &before_us,
                nullptr);  // the same instruction faults again, and the old handler gets it
  }
  static void on_terminate() {
    if (way != nullptr && Escape::fence_is_met_) leave(*way, Escape::End::kTerminate);
    if (terminate_before_us != nullptr) terminate_before_us();
    std::abort();
  }
  static void install() {
    terminate_before_us = std::set_terminate(&on_terminate);
    struct sigaction tick {};
    tick.sa_handler = &on_tick;
    tick.sa_flags = SA_RESTART | SA_ONSTACK;
    ::sigaction(tick_signal(), &tick, nullptr);
    struct sigaction fault {};
    fault.sa_sigaction = &on_fault;
    fault.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigaction(SIGSEGV, &fault, &before_us);
  }
};

Escape::End Escape::run(void (*function)(const void*), const void* argument) noexcept {
  if (way != nullptr) {
    function(argument);
    return End::kReturned;
  }
  static std::once_flag once;
  std::call_once(once, &EscapeSignals::install);
  thread_local const SignalStack signals;
  (void)signals;
  Way out;
  out.low = end_of_stack();
  out.here = static_cast<const std::byte*>(__builtin_frame_address(0));
  way = &out;
  fence_is_met_ = false;
  {
    const Timer timer;
    (void)returns(out, function, argument);
    way = nullptr;
  }
  if (out.end == End::kStack) {
    // The overflow has filled the rest of the stack with pages. Here the kernel takes them back.
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto end = (reinterpret_cast<std::uintptr_t>(out.here) - kOfFrames) / page * page;
    const auto begin = (reinterpret_cast<std::uintptr_t>(out.low) + page - 1) / page * page;
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return out.end;
}

}  // namespace brimful::foreign

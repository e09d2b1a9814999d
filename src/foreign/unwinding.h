#pragma once

namespace brimful::foreign {

/// Whether an exception that is thrown here reaches the function whose stack frame contains `frame`. It does
/// not when a function in between must not throw: the runtime ends the process there. Destructors are such
/// functions, and the destructor of nlohmann::json allocates.
/// The check misses one case: a function that must not throw, when the call lies in the range of a cleanup of
/// the same function. There the table names only the cleanup, and the runtime calls std::terminate() behind
/// it. An Escape catches that.
/// The check reads the tables that the compiler writes for the runtime, and allocates nothing. It takes some
/// microseconds for each function in between. Requires: `frame` is an address in this thread's stack, further
/// out than the caller's frame.
[[nodiscard]] bool can_unwind_to(const void* frame);

}  // namespace brimful::foreign

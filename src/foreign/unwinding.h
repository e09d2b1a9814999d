#pragma once

namespace brimful::foreign {

/// Whether an exception that is thrown here reaches the function in whose stack frame `frame` lies. It does
/// not where a function in between must not throw: the runtime ends the process there. Destructors are such
/// functions; nlohmann::json's one allocates.
/// It does not see a function that must not throw where the call stands in a cleanup's range of that same
/// function: there the table names the cleanup alone, and the runtime calls std::terminate() behind it, which
/// an Escape meets.
/// It reads the tables that the compiler wrote for the runtime, and allocates nothing. It takes microseconds
/// for each function in between. Requires: `frame` is an address in this thread's stack, further out than the
/// caller's frame.
[[nodiscard]] bool can_unwind_to(const void* frame);

}  // namespace brimful::foreign

#pragma once

namespace brimful::tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/// Whether the tests are built with a sanitizer, whose own memory belongs to no budget.
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#if defined(__SANITIZE_THREAD__)
/// Whether the tests are built with the thread sanitizer, which uses most of the address space.
inline constexpr bool kThreadSanitized = true;
#else
inline constexpr bool kThreadSanitized = false;
#endif
inline constexpr const char* kNoBudgetHolds =
    "NOT TESTED that the budget holds: a sanitizer's own memory is in no budget";

}  // namespace brimful::tests

#pragma once

namespace brimful::tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;  ///< a sanitizer's own memory is in no budget
#else
inline constexpr bool kSanitized = false;
#endif
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitized = true;  ///< most of the address space is the thread sanitizer's
#else
inline constexpr bool kThreadSanitized = false;
#endif
inline constexpr const char* kNoBudgetHolds =
    "NOT TESTED that the budget holds: a sanitizer's own memory is in no budget";

}  // namespace brimful::tests

#pragma once

namespace strata::tests {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kSanitized = true;  ///< a sanitizer's own memory is in no budget
#else
inline constexpr bool kSanitized = false;
#endif
inline constexpr const char* kNoBudgetHolds =
    "NOT TESTED that the budget holds: a sanitizer's own memory is in no budget";

}  // namespace strata::tests

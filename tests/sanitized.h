#pragma once

namespace strata::tests {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kSanitized = true;  ///< a sanitizer's own memory is in no budget
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace strata::tests

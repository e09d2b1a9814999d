#pragma once

#include "base/bytes.h"

namespace brimful::memory {

/// Bytes of the kernel's page tables for `mapped` bytes: a page for each 2 MiB, even behind a huge page.
[[nodiscard]] constexpr Bytes page_tables(Bytes mapped) { return Bytes{mapped.value / 512 + 4096}; }

/// `mapped` bytes and their page tables, at most.
[[nodiscard]] constexpr Bytes with_page_tables(Bytes mapped) {
  return Bytes{((mapped.value + 4096) * 512 + 510) / 511};
}

/// The most bytes that may be mapped so that they and their page tables take `room`.
[[nodiscard]] constexpr Bytes without_page_tables(Bytes room) {
  return saturating_sub(room, page_tables(room));
}

}  // namespace brimful::memory

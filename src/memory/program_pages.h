#pragma once

namespace brimful::memory {

/// Asks the kernel for small pages wherever huge ones are not asked for by name. Where the system backs
/// everything with huge pages, one byte of a stack or of the heap can take 2 MiB. The setting holds for
/// threads and memory that are made later.
void prefer_small_pages();

/// Makes every page of the program and its libraries present, and keeps the heap in small pages. The kernel
/// charges the files to the budget sooner or later; so they are counted before the rest of the budget is
/// given away. What else of these files the kernel has read ahead leaves the page cache. Best effort: where
/// the kernel cannot do this, the measurement is less exact.
void populate_program_pages();

}  // namespace brimful::memory

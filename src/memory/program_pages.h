#pragma once

namespace brimful::memory {

/// Asks for small pages wherever huge ones are not asked for by name: where the system backs everything with
/// huge pages, one byte of a stack or of the heap can take 2 MiB. For threads and memory that are yet to
/// come.
void prefer_small_pages();

/// Makes every page of the program and its libraries present, and keeps the heap in small pages. The files
/// are charged to the budget sooner or later; now they are seen before the rest of it is given away. Best
/// effort: a kernel that cannot only makes the measurement less exact.
void populate_program_pages();

}  // namespace brimful::memory

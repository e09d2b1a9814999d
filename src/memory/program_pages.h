#pragma once

namespace strata::memory {

/// Makes every page of the program and its libraries present. They are charged to the budget sooner or later;
/// now they are seen before the rest of it is given away. Best effort: a kernel that cannot only makes the
/// measurement less exact.
void populate_program_pages();

}  // namespace strata::memory

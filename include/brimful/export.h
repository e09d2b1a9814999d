#pragma once

/// Marks a symbol that the shared library exports. All other symbols are hidden.
#define BRIMFUL_API __attribute__((visibility("default")))

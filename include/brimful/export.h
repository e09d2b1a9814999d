#pragma once

/// Marks what the shared library exports. Nothing else of it can be linked with.
#define BRIMFUL_API __attribute__((visibility("default")))

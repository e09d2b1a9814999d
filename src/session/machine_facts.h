#pragma once

#include "hardware/profile.h"

namespace brimful::session {

/// The content of a Machine.
struct MachineFacts {
  hardware::Profile profile;
  /// Whether it is another machine than this one.
  bool elsewhere = false;
};

}  // namespace brimful::session

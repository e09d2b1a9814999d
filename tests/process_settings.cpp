// The tests run with the settings that the program gives its process: see brimful/process.h. What programs
// keep from run to run (how often experts were used, batches) they keep in a folder of this process: no test
// depends on what another one left, or on what the user's own runs did.

#include <brimful/process.h>

#include <cstdlib>

#include "temporary_directory.h"

namespace brimful::tests {
namespace {

[[maybe_unused]] const bool kAdjusted = [] {
  static const TemporaryDirectory state;
  ::setenv("XDG_STATE_HOME", state.path().c_str(), 1);
  adjust_process(all_process_settings());
  return true;
}();

}  // namespace
}  // namespace brimful::tests

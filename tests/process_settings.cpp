// The tests run with the settings that the program gives its process: see brimful/process.h.

#include <brimful/process.h>

namespace brimful::tests {
namespace {

[[maybe_unused]] const bool kAdjusted = [] {
  adjust_process(all_process_settings());
  return true;
}();

}  // namespace
}  // namespace brimful::tests

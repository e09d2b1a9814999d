#include "cli/start.h"

#include <optional>

#include "base/progress.h"
#include "base/standard_error.h"
#include "cli/memory_map.h"

namespace brimful::cli {

void tell_note(const std::string& note) { tell("note: {}\n", note); }

void tell_note_below(const std::string& note) { tell("\nnote: {}\n", note); }

Status start_and_show(engine::Engine& engine, const std::function<bool()>& stopped) {
  {
    std::optional<ProgressBar> bar;
    BRIMFUL_TRY_VOID(engine.start([&](Bytes done, Bytes total) {
      if (!bar) bar.emplace("loading", total);
      bar->update(done);
      return !stopped();
    }));
  }
  for (const std::string& note : engine.notes()) tell_note(note);
  for (const engine::DeviceUse& device : engine.devices()) tell("{}", draw_device_map(device.share));
  tell("{}", draw_memory_map(engine.memory_map()));
  return {};
}

}  // namespace brimful::cli

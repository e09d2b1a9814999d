#include <brimful/machine.h>
#include <fmt/format.h>

#include "hardware/presets.h"
#include "probe/probe.h"
#include "session/machine_facts.h"
#include "session/measure_machine.h"
#include "session/model_content.h"
#include "session/open_options.h"

namespace brimful {

Machine::Machine(std::shared_ptr<const session::MachineFacts> facts) : facts_(std::move(facts)) {}

std::optional<Machine> Machine::known(const Model& model, std::optional<std::uint32_t> threads) {
  auto profile =
      probe::known({.threads = session::computing_threads(threads), .model = &model.content_->profile});
  if (!profile) return std::nullopt;
  return Machine(std::make_shared<const session::MachineFacts>(std::move(*profile), false));
}

Result<Machine> Machine::measure(const Model& model, std::optional<std::uint32_t> threads,
                                 const OnStep& on_step) {
  if (threads == 0U)
    return fail(ErrorCode::kInvalidArgument,
                "threads: 0 compute nothing: give at least 1, or leave it unset");
  BRIMFUL_TRY(hardware::Profile profile,
              session::measure_machine(&model.content_->profile, session::computing_threads(threads),
                                       probe::Refresh::kNever, session::Links::kMeasure, on_step));
  return Machine(std::make_shared<const session::MachineFacts>(std::move(profile), false));
}

Result<Machine> Machine::like(std::string_view parts) {
  BRIMFUL_TRY(hardware::Profile profile, hardware::machine_like(parts));
  return Machine(std::make_shared<const session::MachineFacts>(std::move(profile), true));
}

Result<Machine> Machine::read(const std::filesystem::path& file) {
  BRIMFUL_TRY(hardware::Profile profile, hardware::read_hardware_file(file));
  return Machine(std::make_shared<const session::MachineFacts>(std::move(profile), true));
}

const std::string& Machine::name() const { return facts_->profile.name; }
bool Machine::is_this_machine() const { return !facts_->elsewhere; }
const std::string& Machine::measured() const { return facts_->profile.measured; }
std::string Machine::to_json() const { return hardware::to_json(facts_->profile); }

std::vector<MachineGpu> Machine::gpus() const {
  std::vector<MachineGpu> out;
  for (const hardware::Gpu& gpu : facts_->profile.gpus)
    out.push_back({fmt::format("CUDA{}", out.size()), gpu.name, gpu.total});
  return out;
}

}  // namespace brimful

#include "session/devices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <ranges>
#include <sstream>

#include "base/counted.h"
#include "engine/backends.h"
#include "plan/transfer_policy.h"
#include "probe/probe.h"
#include "session/card_budget.h"
#include "tier/gpu/gpu_device.h"

namespace brimful::session {
namespace {

/// Returns the device that `part` names, or else the next one that is not taken; null when there is none.
ggml_backend_dev_t device_for(const VramPart& part, const std::vector<ggml_backend_dev_t>& devices,
                              const std::vector<ggml_backend_dev_t>& taken) {
  const auto wanted = std::ranges::find_if(devices, [&](ggml_backend_dev_t device) {
    if (part.name) return *part.name == ggml_backend_dev_name(device);
    return std::ranges::find(taken, device) == taken.end();
  });
  return wanted != devices.end() ? *wanted : nullptr;
}

/// Returns a device for each part; null for a part without one.
std::vector<ggml_backend_dev_t> devices_for(const std::vector<VramPart>& parts,
                                            const std::vector<ggml_backend_dev_t>& devices) {
  std::vector<ggml_backend_dev_t> out;
  out.reserve(parts.size());
  for (const VramPart& part : parts) out.push_back(device_for(part, devices, out));
  return out;
}

/// Parses the size of `part`.
Result<Bytes> size_of(const std::string& number, const std::string& part, std::string_view option) {
  const auto size = parse_bytes(number);
  if (!size) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", option, size.error().message));
  if (*size > Bytes{} && *size < kMiB && number.find_first_not_of("0123456789") == std::string::npos) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} {}: a budget of {} holds no weights: use a unit, as in 8GiB", option, part,
                            counted(size->value, "byte")));
  }
  return *size;
}

/// Errors: kInvalidArgument when two of the devices in use are the same card, for two back ends.
Status check_cards(const std::vector<ggml_backend_dev_t>& used, std::string_view option) {
  for (std::size_t i = 0; i < used.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (!tier::is_same_card(used[i], used[j])) continue;
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: {} and {} are the same card: name one of them", option,
                              ggml_backend_dev_name(used[j]), ggml_backend_dev_name(used[i])));
    }
  }
  return {};
}

std::vector<std::string> names_of(const std::vector<ggml_backend_dev_t>& devices) {
  std::vector<std::string> out;
  out.reserve(devices.size());
  for (ggml_backend_dev_t const device : devices) out.emplace_back(ggml_backend_dev_name(device));
  return out;
}

}  // namespace

Result<std::vector<VramPart>> parse_vram(const std::string& text, std::string_view option) {
  if (text.empty())
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: is empty: give a size, as in 8GiB", option));
  std::vector<VramPart> out;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    const std::string number = equals == std::string::npos ? part : part.substr(equals + 1);
    VramPart one{part, std::nullopt, std::nullopt};
    if (number != kAutomatic) {
      BRIMFUL_TRY(one.size, size_of(number, part, option));
    }
    if (equals != std::string::npos) one.name = part.substr(0, equals);
    out.push_back(std::move(one));
  }
  return out;
}

std::vector<VramPart> vram_parts(const std::vector<VramBudget>& budgets) {
  std::vector<VramPart> out;
  for (const VramBudget& budget : budgets) {
    const std::string size = budget.bytes ? format_bytes(*budget.bytes) : std::string(kAutomatic);
    if (budget.device.empty()) {
      out.push_back({size, std::nullopt, budget.bytes});
    } else {
      out.push_back({fmt::format("{}={}", budget.device, size), budget.device, budget.bytes});
    }
  }
  return out;
}

std::string unused_devices_note(const std::vector<VramPart>& parts, const std::vector<std::string>& used,
                                const std::vector<std::string>& all, std::string_view option) {
  const auto unnamed = std::ranges::find_if(parts, [](const VramPart& part) { return !part.name; });
  if (unnamed == parts.end() || used.empty() || used.size() >= all.size()) return {};
  std::string given;
  for (const VramPart& part : parts) given += (given.empty() ? "" : ",") + part.text;
  std::string named;
  for (const std::string& device : all)
    named += fmt::format("{}{}={}", named.empty() ? "" : ",", device, unnamed->text);
  return fmt::format("{0} {1} is the budget of {2} only, of the GPUs {3}; to use more, name each: {0} {4}",
                     option, given, fmt::join(used, ", "), fmt::join(all, ", "), named);
}

Result<hardware::Gpu> card_before(ggml_backend_dev_t device, const engine::DriverAccount& account) {
  BRIMFUL_TRY(std::optional<hardware::Gpu> card, account.card(tier::card_of(device)));
  std::size_t free = 0;
  std::size_t total = 0;
  ggml_backend_dev_memory(device, &free, &total);
  if (!card) return hardware::Gpu{.total = Bytes{total}, .free = Bytes{std::min(free, total)}};
  // A server (MPS) may allow less than the card has.
  if (total > 0) card->total = std::min(card->total, Bytes{total});
  card->free = std::min(card->free, card->total);
  return *card;
}

Result<std::vector<engine::OffloadOption>> offload_options(const std::vector<VramPart>& parts,
                                                           const engine::DriverAccount& account,
                                                           std::string_view option, const Notes& notes) {
  std::vector<ggml_backend_dev_t> devices = tier::gpu_devices();
  const std::vector<ggml_backend_dev_t> chosen = devices_for(parts, devices);
  std::vector<std::string> problems;
  if (std::ranges::find(chosen, nullptr) != chosen.end()) {  // The devices of rpc-servers are not enough.
    problems = engine::load_back_ends();
    devices = tier::gpu_devices();
  }
  if (devices.empty()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{0} {1}: {2}; or leave {0} out", option,
                    fmt::join(parts | std::views::transform(&VramPart::text), ","),
                    problems.empty() ? "no GPU can be used: scripts/build-back-end makes the back end of "
                                       "ggml for yours (cuda, vulkan or hip)"
                                     : fmt::format("{}", fmt::join(problems, "; "))));
  }
  auto out = offload_options_among(devices, parts, account, option, notes);
  if (!out && !problems.empty()) out.error().message += fmt::format("; {}", fmt::join(problems, "; "));
  return out;
}

Result<std::vector<engine::OffloadOption>> offload_options_among(
    const std::vector<ggml_backend_dev_t>& devices, const std::vector<VramPart>& parts,
    const engine::DriverAccount& account, std::string_view option, const Notes& notes) {
  const std::vector<ggml_backend_dev_t> chosen = devices_for(parts, devices);
  const std::vector<std::string> all = names_of(devices);
  std::vector<ggml_backend_dev_t> used;
  std::vector<VramPart> budgets;  // those of `used`
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const VramPart& part = parts[i];
    if (chosen[i] == nullptr)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} {}: the GPUs here are {}", option, part.text, fmt::join(all, " ")));
    if (std::ranges::find(used, chosen[i]) != used.end())
      return fail(ErrorCode::kInvalidArgument, fmt::format("{} {}: {} has a budget already", option,
                                                           part.text, ggml_backend_dev_name(chosen[i])));
    if (part.is_nothing()) continue;
    used.push_back(chosen[i]);
    budgets.push_back(part);
  }
  BRIMFUL_TRY_VOID(check_cards(used, option));
  std::vector<engine::OffloadOption> given;
  std::vector<std::optional<double>> rates;
  std::vector<std::string> said;
  for (std::size_t i = 0; i < used.size(); ++i) {
    BRIMFUL_TRY(const hardware::Gpu card, card_before(used[i], account));
    BRIMFUL_TRY(CardBudget budget, card_budget(budgets[i], card, ggml_backend_dev_name(used[i]), option));
    given.push_back({used[i], budget.bytes});
    rates.push_back(card.memory_bytes_per_s);
    std::ranges::move(budget.notes, std::back_inserter(said));
  }
  if (const std::string note = unused_devices_note(parts, names_of(used), all, option); !note.empty())
    notes(note);
  for (const std::string& note : said) notes(note);
  std::vector<engine::OffloadOption> out;
  for (const std::size_t i : fastest_first(rates)) out.push_back(given[i]);
  return out;
}

namespace {

/// This machine, and the card of one device.
struct Rates {
  hardware::Profile machine;
  hardware::Gpu card;
};

/// Unset where nothing was measured.
std::optional<Rates> known_rates(const model::ModelProfile& model, int threads, ggml_backend_dev_t device) {
  const auto machine = probe::known({.threads = threads, .model = &model});
  if (!machine) return std::nullopt;
  const std::string card = ggml_backend_dev_description(device);
  const auto gpu = std::ranges::find(machine->gpus, card, &hardware::Gpu::name);
  if (gpu == machine->gpus.end()) return std::nullopt;
  return Rates{*machine, *gpu};
}

}  // namespace

plan::TransferPolicy measured_transfer_policy(const model::ModelProfile& model, int threads,
                                              ggml_backend_dev_t device) {
  const auto rates = known_rates(model, threads, device);
  if (!rates) return plan::assumed_transfer_policy(model);
  return plan::measured_transfer_policy(model, rates->machine, rates->card);
}

plan::HostLayout measured_host_layout(const model::ModelProfile& model, int threads,
                                      ggml_backend_dev_t device) {
  const auto rates = known_rates(model, threads, device);
  if (!rates || !rates->card.host_to_device_bytes_per_s) return {};
  return plan::host_layout(model, rates->machine.compute, *rates->card.host_to_device_bytes_per_s);
}

}  // namespace brimful::session

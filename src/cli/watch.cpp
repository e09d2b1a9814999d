#include "cli/watch.h"

#include "control/client.h"
#include "hardware/gpu.h"

namespace brimful::cli {

using nlohmann::json;

namespace {

double sent_bytes(const json& status) {
  double out = 0;
  for (const json& tier : status.value("tiers", json::array()))
    out += number_at(tier, "/sent_bytes") + number_at(tier, "/experts/sent_bytes");
  return out;
}

/// Returns the rates per second between two statuses.
json rates(const json& before, const json& now) {
  const double seconds = number_at(now, "/seconds") - number_at(before, "/seconds");
  const auto rate = [&](double first, double second) { return seconds > 0 ? (second - first) / seconds : 0; };
  const auto of = [&](const char* pointer) {
    return rate(number_at(before, pointer), number_at(now, pointer));
  };
  return {{"written_tokens_per_second", of("/tokens/written")},
          {"prompt_tokens_per_second", of("/tokens/computed")},
          {"disk_bytes_per_second", of("/passes/disk_bytes")},
          {"sent_bytes_per_second", rate(sent_bytes(before), sent_bytes(now))},
          {"stalled_share", of("/passes/stalled_seconds")}};
}

json gpus(const hardware::Gpus& gpus) {
  json out = json::array();
  for (const hardware::Gpu& gpu : gpus.cards) {
    json& card = out.emplace_back(json{{"name", gpu.name},
                                       {"total_bytes", gpu.total.value},
                                       {"free_bytes", gpu.free.value},
                                       {"used_bytes", gpu.used.value},
                                       {"processes", json::array()}});
    if (gpu.reserved) card["reserved_bytes"] = gpu.reserved->value;
    for (const hardware::GpuProcess& process : gpu.processes)
      card["processes"].push_back({{"pid", process.pid}, {"used_bytes", process.used.value}});
  }
  return out;
}

}  // namespace

double number_at(const json& object, const char* pointer) {
  const json::json_pointer at(pointer);
  return object.contains(at) && object[at].is_number() ? object[at].get<double>() : 0;
}

std::optional<json> Watch::process(pid_t pid) {
  auto status = control::ask(pid, {{"ask", "status"}}, kPatience);
  if (!status) return std::nullopt;
  Seen& seen = seen_[pid];
  // When the status has not changed, as during a long pass, the rates stay.
  if (seen.status.is_null()) {
    seen.rates = rates(*status, *status);
  } else if (number_at(*status, "/seconds") > number_at(seen.status, "/seconds")) {
    seen.rates = rates(seen.status, *status);
  }
  seen.status = *status;
  json out = std::move(*status);
  out["rates"] = seen.rates;
  if (const auto use = hardware::read_process_use(pid))
    out["process"] = {{"resident_bytes", use->resident.value}, {"swapped_bytes", use->swapped.value}};
  return out;
}

json Watch::swap() {
  const auto now = hardware::read_swap_traffic();
  const auto at = std::chrono::steady_clock::now();
  json out = json::object();
  if (now && swap_) {
    const double seconds = std::chrono::duration<double>(at - swap_at_).count();
    out = {{"in_bytes_per_second", static_cast<double>((now->in - swap_->in).value) / seconds},
           {"out_bytes_per_second", static_cast<double>((now->out - swap_->out).value) / seconds}};
  }
  swap_ = now;
  swap_at_ = at;
  return out;
}

json Watch::sample(const std::vector<pid_t>& pids) {
  const hardware::Gpus cards = hardware::read_gpus();
  json out{{"version", 1}, {"gpus", gpus(cards)}, {"processes", json::array()}};
  if (cards.problem) out["gpu_problem"] = *cards.problem;
  for (const pid_t pid : pids) {
    if (auto one = process(pid)) out["processes"].push_back(std::move(*one));
  }
  out["swap"] = swap();
  return out;
}

}  // namespace brimful::cli

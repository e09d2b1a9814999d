#include "cli/run_report.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "session/account.h"
#include "session/status_json.h"

namespace brimful::cli {
namespace {

double per_second(std::size_t tokens, std::chrono::duration<double> time) {
  return time.count() > 0 ? static_cast<double>(tokens) / time.count() : 0;
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

double per(std::uint64_t count, std::uint64_t of) {
  return share(static_cast<double>(count), static_cast<double>(of));
}

nlohmann::ordered_json experts(const tier::ExpertStatistics& all, const session::Turn& total,
                               const plan::MemoryMap& map) {
  const tier::ExpertStatistics& decode = total.decode_experts;
  const auto tokens = static_cast<double>(total.decode_tokens);
  return {{"bytes", map.experts_total.value},
          {"bytes_in_slots", map.experts_in_slots.value},
          {"used", all.used},
          {"hit_rate", share(static_cast<double>(all.hits), static_cast<double>(all.used))},
          {"guesses", all.guesses},
          {"right_guesses", all.right_guesses},
          {"prefetched", all.prefetched},
          {"wasted_prefetch_bytes", all.wasted.value},
          {"decode",
           {{"hit_rate", share(static_cast<double>(decode.hits), static_cast<double>(decode.used))},
            {"read_bytes_per_token", share(static_cast<double>(decode.read.value), tokens)},
            {"missed_bytes_per_token", share(static_cast<double>(decode.missed.value), tokens)},
            {"prefetched_bytes_per_token", share(static_cast<double>(decode.prefetched_bytes.value), tokens)},
            {"wasted_prefetch_bytes_per_token", share(static_cast<double>(decode.wasted.value), tokens)}}}};
}

double disk_bytes_per_token(const session::Turn& total) {
  return per(total.decode_read.value, total.decode_tokens);
}

/// Returns the statistics about the engine that all commands write.
nlohmann::ordered_json engine_stats(const engine::Engine& engine, const std::string& model,
                                    double load_seconds) {
  const plan::MemoryMap map = engine.memory_map();
  const auto peak = engine.peak_bytes();
  nlohmann::ordered_json json;
  json["model"] = model;
  json["budget_bytes"]["host"] = map.budget.value;
  if (peak) json["peak_bytes"]["host"] = peak->value;
  for (const hardware::BudgetPeak& earlier : engine.earlier_peaks()) {
    nlohmann::ordered_json& entry = json["earlier_budgets"].emplace_back();
    entry["budget_bytes"]["host"] = earlier.budget.value;
    if (earlier.peak) entry["peak_bytes"]["host"] = earlier.peak->value;
  }
  json["weights_bytes"] = session::weights_json(map);
  json["memory_bytes"] = session::tags_json(session::account_of(map));
  for (const engine::DeviceUse& use : engine.devices()) {
    const plan::DeviceShare& device = use.share;
    json["budget_bytes"][device.name] = device.budget.value;
    json["device_bytes"][device.name] = session::tags_json(session::account_of(device));
    json["sent_bytes"][device.name] = use.sent.value;
    if (use.card) json["card_bytes"][device.name] = session::card_json(*use.card);
    if (!device.groups.empty()) json["device_experts"][device.name] = session::slots_json(use.experts);
  }
  json["load_seconds"] = load_seconds;
  json["load_disk_bytes"] = engine.loaded_bytes().value;
  json["passes"] = session::passes_json(engine.pass_statistics());
  return json;
}

Status write(const std::string& path, const nlohmann::ordered_json& json) {
  std::ofstream out(path);
  // The model's path need not be UTF-8.
  out << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  out.close();
  if (out) return {};
  return fail(ErrorCode::kIo,
              fmt::format("{}: the statistics cannot be written: {}", path, std::strerror(errno)));
}

/// Describes the drafts; empty when none was made.
std::string describe_drafts(const session::Turn& total) {
  if (total.drafted == 0) return {};
  return fmt::format("drafts {} of {} tokens accepted, {:.2f} tokens per pass\n", total.accepted,
                     total.drafted, per(total.decode_tokens, total.decode_seconds.size()));
}

/// Describes the peak of the current budget, and the peaks of earlier ones.
std::string describe_peaks(const engine::Engine& engine) {
  const auto one = [](std::optional<Bytes> peak, Bytes budget) {
    return fmt::format("{} of {}", peak ? format_bytes(*peak) : "unknown", format_bytes(budget));
  };
  std::string out = one(engine.peak_bytes(), engine.memory_map().budget);
  for (const hardware::BudgetPeak& earlier : engine.earlier_peaks())
    out += fmt::format(", earlier {}", one(earlier.peak, earlier.budget));
  return out;
}

}  // namespace

void RunReport::add(const session::Turn& turn) {
  total.prompt_computed += turn.prompt_computed;
  total.prompt_time += turn.prompt_time;
  total.decode_time += turn.decode_time;
  total.draft_time += turn.draft_time;
  total.decode_tokens += turn.decode_tokens;
  total.drafted += turn.drafted;
  total.accepted += turn.accepted;
  total.decode_read += turn.decode_read;
  total.decode_experts += turn.decode_experts;
  total.token_ids.insert(total.token_ids.end(), turn.token_ids.begin(), turn.token_ids.end());
  total.decode_seconds.insert(total.decode_seconds.end(), turn.decode_seconds.begin(),
                              turn.decode_seconds.end());
  total.reason = turn.reason;
}

std::string describe(const RunReport& report, const engine::Engine& engine) {
  const session::Turn& total = report.total;
  return fmt::format(
      "load {:.1f} s | prompt {} tokens, {:.1f} tokens/s | decode {} tokens, {:.2f} tokens/s ({})\n"
      "{}disk {} per token | peak memory {}\n",
      report.load_seconds, total.prompt_computed, per_second(total.prompt_computed, total.prompt_time),
      total.token_ids.size(), per_second(total.decode_tokens, total.decode_time + total.draft_time),
      to_string(total.reason), describe_drafts(total),
      format_bytes(Bytes{static_cast<std::uint64_t>(disk_bytes_per_token(total))}), describe_peaks(engine));
}

std::string describe(const BatchReport& report) {
  const schedule::Statistics& did = report.did;
  return fmt::format(
      "{} prompt tokens ({} more from the prefix cache) and {} generated tokens in {:.1f} s: {:.1f} "
      "tokens/s; {} passes, up to {} requests at once, {} preempted\n",
      did.prompt_tokens, did.shared_tokens, did.tokens, std::chrono::duration<double>(report.took).count(),
      per_second(did.prompt_tokens + did.tokens, report.took), did.passes, did.most_sequences, did.preempted);
}

Status check_writable(const std::string& path) {
  errno = 0;
  if (std::ofstream(path, std::ios::app)) return {};
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
}

Status write_stats(const std::string& path, const RunReport& report, const engine::Engine& engine,
                   const std::string& model) {
  const session::Turn& total = report.total;
  nlohmann::ordered_json json = engine_stats(engine, model, report.load_seconds);
  json["prompt"] = {{"tokens", total.prompt_computed},
                    {"tokens_per_second", per_second(total.prompt_computed, total.prompt_time)}};
  json["decode"] = {
      {"tokens", total.token_ids.size()},
      {"tokens_per_second", per_second(total.decode_tokens, total.decode_time + total.draft_time)},
      {"disk_bytes_per_token", disk_bytes_per_token(total)},
      {"seconds", total.decode_seconds}};
  json["drafts"] = {{"drafted", total.drafted},
                    {"accepted", total.accepted},
                    {"seconds", std::chrono::duration<double>(total.draft_time).count()},
                    {"tokens_per_pass", per(total.decode_tokens, total.decode_seconds.size())}};
  const plan::MemoryMap map = engine.memory_map();
  if (map.experts_total.value > 0) json["experts"] = experts(engine.pass_statistics().experts, total, map);
  json["stop_reason"] = to_string(total.reason);
  json["token_ids"] = total.token_ids;
  return write(path, json);
}

Status write_stats(const std::string& path, const BatchReport& report, const engine::Engine& engine,
                   const std::string& model) {
  const schedule::Statistics& did = report.did;
  const auto& decodes = did.decodes;
  nlohmann::ordered_json json = engine_stats(engine, model, report.load_seconds);
  json["prompt"] = {{"tokens", did.prompt_tokens}, {"shared_tokens", did.shared_tokens}};
  json["decode"] = {{"tokens", did.tokens},
                    {"passes", decodes.passes},
                    {"tokens_per_second", share(static_cast<double>(decodes.tokens), decodes.seconds)}};
  json["batch"] = {{"seconds", std::chrono::duration<double>(report.took).count()},
                   {"tokens_per_second", per_second(did.prompt_tokens + did.tokens, report.took)},
                   {"most_sequences", did.most_sequences},
                   {"preempted", did.preempted}};
  return write(path, json);
}

}  // namespace brimful::cli

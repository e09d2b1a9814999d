#include "cli/status_text.h"

#include <fmt/format.h>

#include <vector>

#include "cli/memory_map.h"
#include "cli/watch.h"

namespace brimful::cli {

using nlohmann::json;

namespace {

Bytes bytes_of(const json& object, std::string_view key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? Bytes{found->get<std::uint64_t>()} : Bytes{};
}

std::string note_of(const TagName& tag, const json& tier) {
  const auto weights = tier.find("weights_bytes");
  if (weights == tier.end() || !weights->is_object()) return {};
  if (tag.key == "weights")
    return fmt::format("resident, of {} in all", format_bytes(bytes_of(*weights, "total")));
  const Bytes streamed = bytes_of(*weights, "streamed_per_pass");
  if (tag.key == "ring" && streamed > Bytes{})
    return fmt::format("stages the {} that are streamed in each pass", format_bytes(streamed));
  return {};
}

std::string draw(const json& tier) {
  const auto bytes = tier.find("bytes");
  if (bytes == tier.end() || !bytes->is_object()) return {};
  std::vector<TierPart> parts;
  for (const TagName& tag : kTagNames) {
    const Bytes held = bytes_of(*bytes, tag.key);
    if (held > Bytes{} || tag.key == "unused") parts.push_back({tag.key, held, note_of(tag, tier)});
  }
  std::string title = tier.value("name", "") + " memory";
  if (tier.contains("device")) title += fmt::format(" ({})", tier.value("device", ""));
  return draw_tier(title, bytes_of(tier, "budget_bytes"), parts);
}

std::string per_second(double bytes) {
  return format_bytes(Bytes{static_cast<std::uint64_t>(std::max(bytes, 0.0))}) + "/s";
}

std::string text_of_process(const json& p) {
  const json& rates = p["rates"];
  std::string out =
      fmt::format("brimful {}  {}  {}\n", p.value("pid", 0), p.value("model", ""), p.value("state", ""));
  if (number_at(p, "/tokens/prompt_computed") < number_at(p, "/tokens/prompt")) {
    out += fmt::format("  prompt {:.0f} of {:.0f} tokens, {:.1f} tokens/s",
                       number_at(p, "/tokens/prompt_computed"), number_at(p, "/tokens/prompt"),
                       number_at(rates, "/prompt_tokens_per_second"));
  } else {
    out += fmt::format("  {:.2f} tokens/s, {:.0f} written", number_at(rates, "/written_tokens_per_second"),
                       number_at(p, "/tokens/written"));
  }
  out += fmt::format("  disk {}  to GPU {}  stalled {:.0f}% of the time\n",
                     per_second(number_at(rates, "/disk_bytes_per_second")),
                     per_second(number_at(rates, "/sent_bytes_per_second")),
                     100 * number_at(rates, "/stalled_share"));
  if (p.contains("process")) {
    out += fmt::format("  in RAM {}, swapped out {}\n",
                       format_bytes(Bytes{p["process"].value("resident_bytes", std::uint64_t{0})}),
                       format_bytes(Bytes{p["process"].value("swapped_bytes", std::uint64_t{0})}));
  }
  return out + draw_tiers(p.value("tiers", json::array()));
}

/// Describes a card by the driver's numbers, as nvidia-smi does, with the memory of brimful's processes and
/// of all others.
std::string text_of_card(const json& card, const json& processes) {
  std::uint64_t ours = 0;
  const std::string name = card.value("name", "");
  bool in_use = false;  // Whether processes of ours say that they use the card.
  for (const json& brimful : processes) {
    for (const json& tier : brimful.value("tiers", json::array())) in_use |= tier.value("device", "") == name;
  }
  for (const json& process : card["processes"]) {
    for (const json& brimful : processes) {
      if (brimful.value("pid", 0) == process.value("pid", -1))
        ours += process.value("used_bytes", std::uint64_t{0});
    }
  }
  const std::uint64_t used = card.value("used_bytes", std::uint64_t{0});
  const std::uint64_t reserved = card.value("reserved_bytes", std::uint64_t{0});
  std::string all = fmt::format("{}: {} of {} used", name, format_bytes(Bytes{used}),
                                format_bytes(Bytes{card.value("total_bytes", std::uint64_t{0})}));
  if (reserved > 0) all += fmt::format(", {} by its driver", format_bytes(Bytes{reserved}));
  // This happens in containers, where the driver lists no processes.
  if (in_use && ours == 0) return all + "; the driver does not say here by which processes\n";
  return fmt::format("{}, {} by brimful, {} by others\n", all, format_bytes(Bytes{ours}),
                     format_bytes(Bytes{used - std::min(used, ours + reserved)}));
}

}  // namespace

std::string draw_tiers(const json& tiers) {
  std::string out;
  for (const json& tier : tiers) {
    if (tier.is_object()) out += draw(tier);
  }
  return out;
}

std::string running_text(const json& statuses) {
  std::string out;
  for (const json& status : statuses) {
    std::string budgets;
    for (const json& tier : status.value("tiers", json::array())) {
      budgets += fmt::format("{}{} {}", budgets.empty() ? "" : ", ", tier.value("name", ""),
                             format_bytes(bytes_of(tier, "budget_bytes")));
    }
    if (status.contains("model")) {
      out += fmt::format("  process {:<8} {}  {}{}{}\n", status.value("pid", 0),
                         status.contains("name") ? status.value("name", "") : status.value("model", ""),
                         status.value("state", ""), budgets.empty() ? "" : "  budgets: ", budgets);
    } else {
      out += fmt::format("  process {:<8} does not answer: is it stopped?\n", status.value("pid", 0));
    }
  }
  return out;
}

std::string sample_text(const json& all) {
  std::string out;
  for (const json& process : all["processes"]) out += text_of_process(process) + "\n";
  for (const json& card : all["gpus"]) out += text_of_card(card, all["processes"]);
  if (all.contains("gpu_problem")) out += fmt::format("GPUs: {}\n", all.value("gpu_problem", ""));
  const double in = number_at(all, "/swap/in_bytes_per_second");
  const double out_rate = number_at(all, "/swap/out_bytes_per_second");
  out += in + out_rate == 0
             ? "swap: idle\n"
             : fmt::format("swap: {} in, {} out: this machine's RAM is too small for the running programs\n",
                           per_second(in), per_second(out_rate));
  return out;
}

std::string screen_text(std::string_view text, std::size_t rows) {
  constexpr const char* kHome = "\033[H";
  constexpr const char* kWipeRestOfLine = "\033[K";
  constexpr const char* kWipeRestOfScreen = "\033[J";
  std::string out = kHome;
  std::size_t used = 0;
  while (!text.empty() && used + 1 < rows) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out += fmt::format("{}{}\n", text.substr(0, end), kWipeRestOfLine);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++used;
  }
  return out + fmt::format("{}{}{}", text.empty() ? "q quits" : "q quits; a taller window shows more",
                           kWipeRestOfLine, kWipeRestOfScreen);
}

}  // namespace brimful::cli

#include "serve/metrics_snapshot.h"

#include <fmt/format.h>

namespace brimful::serve {
namespace {

class Text {
 public:
  void add(std::string_view name, std::string_view type, std::string_view help, double value) {
    head(name, type, help);
    line(name, "", value);
  }
  void head(std::string_view name, std::string_view type, std::string_view help) {
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  /// Adds a value. `labels` is the text between name and value, braces included.
  void line(std::string_view name, std::string_view labels, double value) {
    text_ += fmt::format("{}{} {}\n", name, labels, value);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

double per(double count, double of) { return of > 0 ? count / of : 0; }

void add_as_llama_server(Text& text, const MetricsSnapshot::Figures& now) {
  const schedule::Statistics& did = now.did;
  const auto prompt_tokens = static_cast<double>(did.prompt_tokens);
  const auto written = static_cast<double>(did.tokens);
  text.add("llamacpp:prompt_tokens_total", "counter", "Tokens of prompts that were computed.", prompt_tokens);
  text.add("llamacpp:prompt_seconds_total", "counter", "Time of requests in their prompts.",
           did.prompt_seconds);
  text.add("llamacpp:tokens_predicted_total", "counter", "Tokens written.", written);
  text.add("llamacpp:tokens_predicted_seconds_total", "counter", "Time of requests in their answers.",
           did.answer_seconds);
  text.add("llamacpp:n_decode_total", "counter", "Passes.", static_cast<double>(did.passes));
  text.add("llamacpp:prompt_tokens_seconds", "gauge", "Tokens of a prompt in a second, on average.",
           per(prompt_tokens, did.prompt_seconds));
  text.add("llamacpp:predicted_tokens_seconds", "gauge",
           "Tokens that a request writes in a second, on average.", per(written, did.answer_seconds));
  text.add("llamacpp:n_busy_slots_per_decode", "gauge", "Sequences in a pass, on average.",
           per(static_cast<double>(did.parts), static_cast<double>(did.passes)));
  text.add("llamacpp:requests_processing", "gauge", "Requests that are computed.",
           static_cast<double>(now.running));
  text.add("llamacpp:requests_deferred", "gauge", "Requests that wait.", static_cast<double>(now.waiting));
}

void add_tiers(Text& text, const nlohmann::ordered_json& tiers) {
  const auto label = [](const nlohmann::ordered_json& tier) {
    return fmt::format("tier=\"{}\"", tier["name"].get<std::string>());
  };
  text.head("brimful:budget_bytes", "gauge", "Of a tier.");
  for (const auto& tier : tiers)
    text.line("brimful:budget_bytes", fmt::format("{{{}}}", label(tier)), tier["budget_bytes"].get<double>());
  text.head("brimful:tier_bytes", "gauge", "What holds a tier's budget; of a tier, they add up to it.");
  for (const auto& tier : tiers) {
    for (const auto& [tag, bytes] : tier["bytes"].items())
      text.line("brimful:tier_bytes", fmt::format("{{{},tag=\"{}\"}}", label(tier), tag),
                bytes.get<double>());
  }
  text.head("brimful:sent_bytes_total", "counter", "Weights sent to a device for batches.");
  for (const auto& tier : tiers) {
    if (tier.contains("sent_bytes"))
      text.line("brimful:sent_bytes_total", fmt::format("{{{}}}", label(tier)),
                tier["sent_bytes"].get<double>());
  }
}

}  // namespace

void MetricsSnapshot::publish(Figures figures) {
  const std::lock_guard lock(mutex_);
  figures_ = std::move(figures);
}

MetricsSnapshot::Figures MetricsSnapshot::read() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

std::string metrics_text(const MetricsSnapshot::Figures& now) {
  Text text;
  add_as_llama_server(text, now);
  text.add("brimful:prompt_tokens_shared_total", "counter", "Tokens of prompts that others had computed.",
           static_cast<double>(now.did.shared_tokens));
  text.add("brimful:requests_ended_total", "counter", "Requests that have an end.",
           static_cast<double>(now.ended));
  text.add("brimful:sequences_preempted_total", "counter", "Times that a sequence was preempted.",
           static_cast<double>(now.did.preempted));
  text.add("brimful:kv_cells", "gauge", "Tokens that the KV cache holds.", now.cells);
  text.add("brimful:kv_cells_free", "gauge", "Tokens that can still be reserved there.", now.free_cells);
  text.add("brimful:streamed_bytes_total", "counter", "Read from disk by passes.",
           static_cast<double>(now.passes.read.value));
  text.add("brimful:stalled_seconds_total", "counter", "The computing waited for the disk.",
           std::chrono::duration<double>(now.passes.stalled).count());
  text.add("brimful:experts_used_total", "counter", "Experts that steps used.",
           static_cast<double>(now.passes.experts.used));
  text.add("brimful:experts_hit_total", "counter", "Of these, found in memory.",
           static_cast<double>(now.passes.experts.hits));
  if (now.peak)
    text.add("brimful:peak_bytes", "gauge", "The most ever held of the host's memory.",
             static_cast<double>(now.peak->value));
  add_tiers(text, now.tiers);
  return text.take();
}

}  // namespace brimful::serve

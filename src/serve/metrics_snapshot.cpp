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
  text.add("llamacpp:prompt_tokens_total", "counter", "Number of prompt tokens computed.", prompt_tokens);
  text.add("llamacpp:prompt_seconds_total", "counter", "Time that requests spent in prefill, in seconds.",
           did.prompt_seconds);
  text.add("llamacpp:tokens_predicted_total", "counter", "Number of tokens generated.", written);
  text.add("llamacpp:tokens_predicted_seconds_total", "counter",
           "Time that requests spent in decode, in seconds.", did.answer_seconds);
  text.add("llamacpp:n_decode_total", "counter", "Number of passes (llama_decode calls).",
           static_cast<double>(did.passes));
  text.add("llamacpp:prompt_tokens_seconds", "gauge",
           "Average prefill speed of a request in tokens per second.",
           per(prompt_tokens, did.prompt_seconds));
  text.add("llamacpp:predicted_tokens_seconds", "gauge",
           "Average decode speed of a request in tokens per second.", per(written, did.answer_seconds));
  text.add("llamacpp:n_busy_slots_per_decode", "gauge", "Average number of sequences in a pass.",
           per(static_cast<double>(did.parts), static_cast<double>(did.passes)));
  text.add("llamacpp:requests_processing", "gauge", "Number of requests that are running.",
           static_cast<double>(now.running));
  text.add("llamacpp:requests_deferred", "gauge", "Number of requests that are waiting.",
           static_cast<double>(now.waiting));
}

void add_tiers(Text& text, const nlohmann::ordered_json& tiers) {
  const auto label = [](const nlohmann::ordered_json& tier) {
    return fmt::format("tier=\"{}\"", tier["name"].get<std::string>());
  };
  text.head("brimful:budget_bytes", "gauge", "Memory budget of a tier, in bytes.");
  for (const auto& tier : tiers)
    text.line("brimful:budget_bytes", fmt::format("{{{}}}", label(tier)), tier["budget_bytes"].get<double>());
  text.head("brimful:tier_bytes", "gauge",
            "Bytes of a tier's budget by use; all uses of a tier add up to its budget.");
  for (const auto& tier : tiers) {
    for (const auto& [tag, bytes] : tier["bytes"].items())
      text.line("brimful:tier_bytes", fmt::format("{{{},tag=\"{}\"}}", label(tier), tag),
                bytes.get<double>());
  }
  text.head("brimful:card_bytes", "gauge",
            "Memory of a GPU by NVML at the start or the last change of budgets, in bytes.");
  for (const auto& tier : tiers) {
    if (!tier.contains("card_bytes")) continue;
    for (const auto& [what, bytes] : tier["card_bytes"].items())
      text.line("brimful:card_bytes", fmt::format("{{{},what=\"{}\"}}", label(tier), what),
                bytes.get<double>());
  }
  text.head("brimful:sent_bytes_total", "counter", "Bytes of weights sent to a GPU for batches.");
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
  text.add("brimful:prompt_tokens_shared_total", "counter",
           "Number of prompt tokens taken from the prefix cache.",
           static_cast<double>(now.did.shared_tokens));
  text.add("brimful:requests_ended_total", "counter", "Number of requests that ended.",
           static_cast<double>(now.ended));
  text.add("brimful:sequences_preempted_total", "counter", "Number of times that a sequence was preempted.",
           static_cast<double>(now.did.preempted));
  text.add("brimful:draft_tokens_total", "counter", "Number of tokens computed as drafts.",
           static_cast<double>(now.did.drafted));
  text.add("brimful:draft_tokens_accepted_total", "counter", "Number of drafted tokens that were right.",
           static_cast<double>(now.did.accepted));
  text.add("brimful:kv_cells", "gauge", "Size of the KV cache in cells, one for each token.", now.cells);
  text.add("brimful:kv_cells_free", "gauge", "Number of KV cells that can still be reserved.",
           now.free_cells);
  text.add("brimful:streamed_bytes_total", "counter", "Bytes that passes read from disk.",
           static_cast<double>(now.passes.read.value));
  text.add("brimful:stalled_seconds_total", "counter", "Time that computing waited for the disk, in seconds.",
           std::chrono::duration<double>(now.passes.stalled).count());
  text.add("brimful:experts_used_total", "counter", "Number of experts used, counted in each step.",
           static_cast<double>(now.passes.experts.used));
  text.add("brimful:experts_hit_total", "counter", "Number of experts used that were found in memory.",
           static_cast<double>(now.passes.experts.hits));
  if (now.peak)
    text.add("brimful:peak_bytes", "gauge", "Peak of the host memory held, in bytes.",
             static_cast<double>(now.peak->value));
  add_tiers(text, now.tiers);
  return text.take();
}

}  // namespace brimful::serve

#include "session/plan_variants.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/quantisation_mix.h"
#include "plan/requantise.h"

namespace brimful::session {
namespace {

// The most perplexity that another quantisation may add and still count as similar in quality.
constexpr double kMostPerplexity = 0.7;

/// Returns whether most weights have the type in which the model was trained. Another type would only lose
/// quality.
bool is_trained_in_its_type(const model::ModelProfile& profile) {
  Bytes bytes;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (tensor.type == GGML_TYPE_MXFP4) bytes += tensor.bytes;
  }
  return bytes * 2 > profile.weight_bytes();
}

void add_quantisations(const engine::Engine& engine, const plan::Inputs& inputs,
                       std::vector<plan::Variant>& out) {
  if (is_trained_in_its_type(inputs.profile)) return;
  const Bytes now = inputs.profile.weight_bytes();
  for (const engine::QuantisationMix& mix : engine::quantisation_mixes()) {
    if (!mix.perplexity || *mix.perplexity > kMostPerplexity) continue;
    const auto types = engine::types_in_mix(*engine.model(), inputs.profile, mix);
    if (types.empty()) continue;
    plan::Variant variant{fmt::format("quantisation {}", mix.name),
                          fmt::format("perplexity +{:.2f} (Llama-3-8B)", *mix.perplexity),
                          plan::requantised(inputs, types), true};
    const Bytes then = variant.inputs.profile.weight_bytes();
    // A variant of about the same size or larger is no improvement.
    if (then.value < now.value - now.value / 50) out.push_back(std::move(variant));
  }
}

/// Adds variants with other settings of the context. Their sizes come from libllama, as for the plan itself.
void add_contexts(engine::Engine& engine, const engine::ContextOptions& context, const plan::Inputs& inputs,
                  std::vector<plan::Variant>& out) {
  const auto add = [&](const engine::ContextOptions& other, std::string what, std::string note) {
    if (!engine.prepare(other)) return;
    plan::Variant variant{std::move(what), std::move(note), inputs};
    const plan::HostPlan& run = engine.plan();
    variant.inputs.run.demand.kv_cache = run.demand.kv_cache;
    variant.inputs.run.demand.compute = run.demand.compute;
    variant.inputs.run.context = run.context;
    out.push_back(std::move(variant));
  };
  if (context.type_k == GGML_TYPE_F16 && context.type_v == GGML_TYPE_F16) {
    engine::ContextOptions quantised = context;
    quantised.type_k = quantised.type_v = GGML_TYPE_Q8_0;
    add(quantised, fmt::format("{} q8_0 {} q8_0", inputs.names.key_cache, inputs.names.value_cache),
        "half the KV cache, hardly any loss of quality");
  }
  if (inputs.run.context >= 2 * 512) {
    engine::ContextOptions shorter = context;
    shorter.context = inputs.run.context / 2;
    shorter.prompt_tokens = std::min(context.prompt_tokens, *shorter.context / 2);
    add(shorter, fmt::format("{} {}", inputs.names.context, *shorter.context), "half the context");
  }
}

}  // namespace

std::vector<plan::Variant> model_variants(engine::Engine& engine, const engine::ContextOptions& context,
                                          const plan::Inputs& inputs) {
  std::vector<plan::Variant> out;
  add_quantisations(engine, inputs, out);
  add_contexts(engine, context, inputs, out);
  return out;
}

}  // namespace brimful::session

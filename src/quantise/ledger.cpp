#include "quantise/ledger.h"

#include <fmt/format.h>

#include <cstdlib>

namespace brimful::quantise {
namespace {

double rounded(double value) { return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr); }

}  // namespace

nlohmann::ordered_json ledger(const model::ModelProfile& profile, const LedgerInputs& inputs,
                              const std::vector<TensorLosses>& losses, const Choice& choice,
                              std::optional<double> measured) {
  nlohmann::ordered_json out{{"version", 1},
                             {"goal", inputs.goal},
                             {"effort", inputs.effort},
                             {"source", inputs.source},
                             {"text", inputs.text},
                             {"importance", inputs.importance},
                             {"tensor_bytes", choice.tensor_bytes},
                             {"bytes_per_token", static_cast<std::uint64_t>(choice.read_per_token)},
                             {"predicted_divergence", rounded(choice.loss)}};
  if (measured) out["measured_divergence"] = *measured;
  for (const TensorLosses& tensor : losses) {
    nlohmann::ordered_json errors = nlohmann::ordered_json::object();
    for (const Candidate& candidate : tensor.candidates)
      errors[ggml_type_name(candidate.type)] = candidate.error;
    out["tensors"].push_back({{"name", profile.tensors[tensor.source].name},
                              {"type", ggml_type_name(choice.types[tensor.source])},
                              {"sensitivity", tensor.sensitivity},
                              {"measured", tensor.measured},
                              {"errors", std::move(errors)}});
  }
  return out;
}

}  // namespace brimful::quantise

#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/model_profile.h"
#include "quantise/losses.h"
#include "quantise/search.h"

namespace brimful::quantise {

/// The key of the metadata that holds the ledger of a file that was made to a budget.
inline constexpr const char* kLedgerKey = "brimful.quantize.ledger";

/// What a search was made with, as the ledger tells it.
struct LedgerInputs {
  std::string goal;        ///< As the user gave it, such as `vram=8GiB,ram=16GiB`.
  std::string effort;      ///< `kl`, `imatrix` or `weights`.
  std::string source;      ///< Fingerprint of the source.
  std::string text;        ///< What the calibration text is, with its hash; empty without one.
  std::string importance;  ///< Where the importance matrix comes from; empty without one.
};

/// The ledger as JSON: inputs, measurements and choices. It holds no path, time or name of a machine, so that
/// the same inputs give the same bytes.
[[nodiscard]] nlohmann::ordered_json ledger(const model::ModelProfile& profile, const LedgerInputs& inputs,
                                            const std::vector<TensorLosses>& losses, const Choice& choice,
                                            std::optional<double> measured);

}  // namespace brimful::quantise

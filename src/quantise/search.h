#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"
#include "quantise/choose.h"
#include "quantise/losses.h"
#include "quantise/mixes.h"
#include "quantise/recipe.h"

namespace brimful::quantise {

/// What the chosen types must keep. Unset: no limit.
struct Limits {
  std::optional<Bytes> file;             ///< The whole file, header and padding included.
  std::optional<double> read_per_token;  ///< Bytes of weights that a token reads.
};

/// Types for all tensors, and what they lead to.
struct Choice {
  std::vector<ggml_type> types;    ///< By ModelProfile::tensors.
  std::uint64_t tensor_bytes = 0;  ///< Of all tensors, with their padding.
  double read_per_token = 0;       ///< Bytes.
  double loss = 0;                 ///< Predicted divergence, nats per token.
};

/// The space of all choices for a model.
class SearchSpace {
 public:
  /// `recipe` says which tensors are quantised at all. The arguments must outlive the space.
  SearchSpace(const model::ModelProfile& profile, const Recipe& recipe,
              const std::vector<TensorLosses>& losses);

  /// The choice of least loss within limits; `header` is the size of the header in bytes. Where the file is
  /// limited, at least 99.9% of the limit is used if any choice does.
  /// Errors: kInfeasible; the message says what the smallest possible is.
  [[nodiscard]] Result<Choice> choose(const Limits& limits, std::uint64_t header) const;
  /// The choice of the smallest file.
  [[nodiscard]] Choice smallest() const;
  /// All tensors as in the source.
  [[nodiscard]] Choice largest() const;
  /// What given types, by ModelProfile::tensors, lead to. Nullopt where a type was not measured.
  [[nodiscard]] std::optional<Choice> with(const std::vector<ggml_type>& types) const;

 private:
  [[nodiscard]] Choice result(const std::vector<std::size_t>& options) const;

  const model::ModelProfile& profile_;
  const std::vector<TensorLosses>& losses_;
  std::vector<Item> items_;  // as losses_; the shares are those of the file and of the bytes for a token
  std::uint64_t fixed_bytes_ = 0;
  double fixed_read_ = 0;
};

/// The share of a tensor's bytes that one token reads: of an embedding some rows, of experts those that are
/// chosen. `tied`: the model has no output matrix of its own and reads the embedding as one.
[[nodiscard]] double share_per_token(const model::TensorInfo& tensor, const model::ModelProfile& profile,
                                     bool tied);

/// The name for general.file_type: the mix of llama.cpp whose main type most of the weights have.
[[nodiscard]] llama_ftype nearest_file_type(const model::ModelProfile& profile,
                                            const std::vector<ggml_type>& types);

}  // namespace brimful::quantise

#pragma once

#include <ggml.h>

#include "base/result.h"
#include "model/model_profile.h"
#include "quantise/importance.h"
#include "quantise/kl_meter.h"
#include "quantise/source.h"

namespace brimful::quantise {

/// Changes the weights of a KlMeter's model in place, and restores them from the source. One thread at a
/// time. Holds: a few MB while it works.
class WeightsInMemory {
 public:
  /// The arguments must outlive this object; without a meter, nothing can be changed.
  WeightsInMemory(Source& source, const Importance& importance, KlMeter* meter, unsigned threads)
      : source_(source), importance_(importance), meter_(meter), threads_(threads) {}

  /// Whether the tensor lies in memory as it does in the file.
  [[nodiscard]] bool can_be_changed(const model::TensorInfo& tensor) const;
  /// Gives the weights the values that they would have in `type`. Requires: can_be_changed().
  [[nodiscard]] Status change(const model::TensorInfo& tensor, ggml_type type);
  /// Reads the weights again. Requires: can_be_changed().
  [[nodiscard]] Status restore(const model::TensorInfo& tensor);

 private:
  Source& source_;
  const Importance& importance_;
  KlMeter* const meter_;
  const unsigned threads_;
};

}  // namespace brimful::quantise

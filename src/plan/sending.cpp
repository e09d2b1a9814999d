#include "plan/sending.h"

#include <map>
#include <utility>

#include "plan/cost_model.h"

namespace strata::plan {
namespace {

constexpr std::int64_t kMostTokens = 8192;  // of a ubatch

bool is_sent(const model::TensorInfo& tensor, bool experts) {
  return tensor.layer && tensor.rows() > 1 && (tensor.role == model::Role::kExpert) == experts;
}

/// Weights of one kind: by type and length of a row.
class Weights {
 public:
  Weights(const model::ModelProfile& profile, bool experts) {
    for (const model::TensorInfo& tensor : profile.tensors) {
      if (!is_sent(tensor, experts)) continue;
      weights_[{tensor.type, tensor.shape[0]}] += static_cast<double>(tensor.rows() * tensor.shape[0]);
      bytes_ += static_cast<double>(tensor.bytes.value);
    }
  }
  [[nodiscard]] double bytes() const { return bytes_; }
  [[nodiscard]] double host_seconds(std::int64_t tokens, const hardware::Compute& compute) const {
    double seconds = 0;
    const auto columns = static_cast<double>(tokens);
    for (const auto& [kind, count] : weights_)
      seconds += product_seconds({kind.first, false, false, columns, count * columns, kind.second}, compute);
    return seconds;
  }

 private:
  std::map<std::pair<ggml_type, std::int64_t>, double> weights_;
  double bytes_ = 0;
};

}  // namespace

std::int64_t tokens_worth_sending(const model::ModelProfile& profile, const hardware::Compute& compute,
                                  double bytes_per_s) {
  const Weights weights(profile, false);
  for (std::int64_t tokens = 2; tokens <= kMostTokens; ++tokens) {
    if (weights.host_seconds(tokens, compute) >= weights.bytes() / bytes_per_s) return tokens;
  }
  return kNever;
}

bool experts_worth_sending(const model::ModelProfile& profile, const hardware::Compute& compute,
                           double bytes_per_s) {
  const Weights experts(profile, true);
  return experts.host_seconds(1, compute) > experts.bytes() / bytes_per_s;
}

}  // namespace strata::plan

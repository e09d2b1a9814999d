#include "plan/sending.h"

#include <map>
#include <utility>

#include "plan/cost_model.h"

namespace strata::plan {
namespace {

constexpr std::int64_t kMostTokens = 8192;  // of a ubatch

}  // namespace

std::int64_t tokens_worth_sending(const model::ModelProfile& profile, const hardware::Compute& compute,
                                  double bytes_per_s) {
  std::map<std::pair<ggml_type, std::int64_t>, double> weights;  // by type and length of a row
  double bytes = 0;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (!tensor.layer || tensor.rows() <= 1 || tensor.role == model::Role::kExpert) continue;
    weights[{tensor.type, tensor.shape[0]}] += static_cast<double>(tensor.rows() * tensor.shape[0]);
    bytes += static_cast<double>(tensor.bytes.value);
  }
  const auto host_seconds = [&](std::int64_t tokens) {
    double seconds = 0;
    for (const auto& [kind, count] : weights) {
      const auto columns = static_cast<double>(tokens);
      seconds += product_seconds({kind.first, false, false, columns, count * columns, kind.second}, compute);
    }
    return seconds;
  };
  for (std::int64_t tokens = 2; tokens <= kMostTokens; ++tokens) {
    if (host_seconds(tokens) >= bytes / bytes_per_s) return tokens;
  }
  return kNever;
}

}  // namespace strata::plan

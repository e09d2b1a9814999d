#include "quantise/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace brimful::quantise {
namespace {

constexpr std::uint64_t kPadding = 32;
constexpr double kFill = 0.999;

std::uint64_t padded(std::uint64_t bytes) { return align_up(bytes, kPadding); }

}  // namespace

double share_per_token(const model::TensorInfo& tensor, const model::ModelProfile& profile, bool tied) {
  if (tensor.role == model::Role::kTokenEmbedding && !tied)
    return 1.0 / static_cast<double>(std::max<std::int64_t>(tensor.rows(), 1));
  if (tensor.role == model::Role::kExpert && tensor.shape[2] > 1 && profile.experts_used > 0)
    return std::min(1.0, static_cast<double>(profile.experts_used) / static_cast<double>(tensor.shape[2]));
  return 1.0;
}

SearchSpace::SearchSpace(const model::ModelProfile& profile, const Recipe& recipe,
                         const std::vector<TensorLosses>& losses)
    : profile_(profile), losses_(losses) {
  const bool tied = profile.find("output.weight") == nullptr;
  std::vector<bool> chosen(profile.tensors.size());
  for (const TensorLosses& tensor : losses) {
    chosen[tensor.source] = true;
    Item& item = items_.emplace_back();
    item.shares = {1.0, share_per_token(profile.tensors[tensor.source], profile, tied)};
    for (const Candidate& candidate : tensor.candidates)
      item.options.push_back({padded(candidate.bytes), tensor.sensitivity * candidate.error});
  }
  for (const OutputFile& file : recipe.files) {
    for (const OutputTensor& tensor : file.tensors) {
      if (chosen[tensor.source]) continue;
      fixed_bytes_ += padded(tensor.bytes);
      fixed_read_ +=
          static_cast<double>(tensor.bytes) * share_per_token(profile.tensors[tensor.source], profile, tied);
    }
  }
}

Choice SearchSpace::result(const std::vector<std::size_t>& options) const {
  Choice out;
  for (const model::TensorInfo& tensor : profile_.tensors) out.types.push_back(tensor.type);
  for (std::size_t i = 0; i < losses_.size(); ++i)
    out.types[losses_[i].source] = losses_[i].candidates[options[i]].type;
  out.tensor_bytes = fixed_bytes_ + static_cast<std::uint64_t>(counted_bytes(items_, options, 0));
  out.read_per_token = fixed_read_ + counted_bytes(items_, options, 1);
  out.loss = total_loss(items_, options);
  return out;
}

Choice SearchSpace::smallest() const {
  std::vector<std::size_t> options;
  for (const Item& item : items_) {
    const auto least = std::ranges::min_element(item.options, {}, &Option::bytes);
    options.push_back(static_cast<std::size_t>(least - item.options.begin()));
  }
  return result(options);
}

Choice SearchSpace::largest() const {
  std::vector<std::size_t> options;
  for (const Item& item : items_) options.push_back(item.options.size() - 1);
  return result(options);
}

std::optional<Choice> SearchSpace::with(const std::vector<ggml_type>& types) const {
  std::vector<std::size_t> options;
  for (const TensorLosses& tensor : losses_) {
    const auto found = std::ranges::find(tensor.candidates, types[tensor.source], &Candidate::type);
    if (found == tensor.candidates.end()) return std::nullopt;
    options.push_back(static_cast<std::size_t>(found - tensor.candidates.begin()));
  }
  return result(options);
}

Result<Choice> SearchSpace::choose(const Limits& limits, std::uint64_t header) const {
  const Choice least = smallest();
  if (limits.file && limits.file->value < header + least.tensor_bytes)
    return fail(ErrorCode::kInfeasible,
                fmt::format("{} is too small for this model: the smallest possible is {} ({} bytes)",
                            format_bytes(*limits.file), format_bytes(Bytes{header + least.tensor_bytes}),
                            header + least.tensor_bytes));
  if (limits.read_per_token && *limits.read_per_token < least.read_per_token)
    return fail(ErrorCode::kInfeasible,
                fmt::format("even the smallest types read {} for each token",
                            format_bytes(Bytes{static_cast<std::uint64_t>(least.read_per_token)})));
  const Choice most = largest();
  const double file = limits.file ? static_cast<double>(limits.file->value - header - fixed_bytes_)
                                  : static_cast<double>(most.tensor_bytes);
  const double read =
      limits.read_per_token ? *limits.read_per_token - fixed_read_ : most.read_per_token + 1.0;
  // The share of what is left for these tensors that uses 99.9% of the whole.
  const double whole = limits.file ? static_cast<double>(limits.file->value) : 0.0;
  const double fill = limits.file && file > 0 ? std::max(0.0, 1.0 - (1.0 - kFill) * whole / file) : 0.0;
  BRIMFUL_TRY(const std::vector<std::size_t> options, quantise::choose(items_, {file, read}, fill));
  return result(options);
}

llama_ftype nearest_file_type(const model::ModelProfile& profile, const std::vector<ggml_type>& types) {
  static const std::map<ggml_type, const char*> kNames{
      {GGML_TYPE_IQ1_S, "IQ1_S"},   {GGML_TYPE_IQ1_M, "IQ1_M"},     {GGML_TYPE_IQ2_XXS, "IQ2_XXS"},
      {GGML_TYPE_IQ2_XS, "IQ2_XS"}, {GGML_TYPE_IQ2_S, "IQ2_M"},     {GGML_TYPE_Q2_K, "Q2_K"},
      {GGML_TYPE_IQ3_S, "IQ3_S"},   {GGML_TYPE_IQ3_XXS, "IQ3_XXS"}, {GGML_TYPE_Q3_K, "Q3_K_M"},
      {GGML_TYPE_IQ4_XS, "IQ4_XS"}, {GGML_TYPE_IQ4_NL, "IQ4_NL"},   {GGML_TYPE_Q4_0, "Q4_0"},
      {GGML_TYPE_Q4_K, "Q4_K_M"},   {GGML_TYPE_Q4_1, "Q4_1"},       {GGML_TYPE_Q5_0, "Q5_0"},
      {GGML_TYPE_Q5_K, "Q5_K_M"},   {GGML_TYPE_Q5_1, "Q5_1"},       {GGML_TYPE_Q6_K, "Q6_K"},
      {GGML_TYPE_Q8_0, "Q8_0"},     {GGML_TYPE_F16, "F16"},         {GGML_TYPE_BF16, "BF16"},
      {GGML_TYPE_F32, "F32"}};
  std::map<ggml_type, double> weights;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const model::TensorInfo& tensor = profile.tensors[i];
    if (tensor.rows() > 1) weights[types[i]] += static_cast<double>(tensor.rows() * tensor.shape[0]);
  }
  const auto most = std::ranges::max_element(weights, {}, [](const auto& entry) { return entry.second; });
  const auto name = most == weights.end() ? kNames.end() : kNames.find(most->first);
  const Target* const target = find_target(name == kNames.end() ? "F32" : name->second);
  return target->type;
}

}  // namespace brimful::quantise

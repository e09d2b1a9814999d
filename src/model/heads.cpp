#include "model/heads.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "model/gguf_reader.h"

namespace brimful::model {
namespace {

/// What libllama's graph of such a layer needs, beside what its loader demands of every layer.
struct HeadRule {
  std::string_view architecture;
  /// Names behind `blk.N.`.
  std::span<const std::string_view> tensors;
};

constexpr std::string_view kJoin = ".nextn.eh_proj.weight";

constexpr auto kMixtureTensors = std::to_array<std::string_view>(
    {"nextn.eh_proj.weight", "nextn.enorm.weight", "nextn.hnorm.weight", "ffn_gate_inp.weight"});

/// The architectures whose layers were tried here. libllama has more, but nobody has tested them with us.
constexpr auto kRules = std::to_array<HeadRule>({{"glm4moe", kMixtureTensors}});

Status unsupported(const ModelProfile& profile, std::string_view why) {
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: its own layers cannot draft: {}", profile.files.front().path.string(), why));
}

}  // namespace

std::uint32_t head_layers(const ModelProfile& profile) {
  return static_cast<std::uint32_t>(std::ranges::count_if(profile.tensors, [](const TensorInfo& tensor) {
    return tensor.layer && tensor.name.ends_with(kJoin);
  }));
}

Bytes bytes_of_heads(const ModelProfile& profile) {
  Bytes sum;
  const std::uint32_t first = profile.layers - head_layers(profile);
  for (const TensorInfo& tensor : profile.tensors) {
    if (tensor.layer && std::cmp_greater_equal(*tensor.layer, first)) sum += tensor.bytes;
  }
  return sum;
}

Status check_heads(const ModelProfile& profile) {
  const std::uint32_t layers = head_layers(profile);
  if (layers == 0) return unsupported(profile, "it has no layer that predicts further tokens");
  const auto rule = std::ranges::find(kRules, profile.architecture, &HeadRule::architecture);
  if (rule == kRules.end())
    return unsupported(profile, fmt::format("this is not supported for the architecture {} yet",
                                            in_quotes(profile.architecture)));
  if (layers != 1)
    return unsupported(profile,
                       fmt::format("{} layers predict further tokens, and only one is supported", layers));
  for (const std::string_view name : rule->tensors) {
    const std::string full = fmt::format("blk.{}.{}", profile.layers - 1, name);
    if (profile.find(full) == nullptr)
      return unsupported(profile, fmt::format("tensor {} is missing", in_quotes(full)));
  }
  return {};
}

}  // namespace brimful::model

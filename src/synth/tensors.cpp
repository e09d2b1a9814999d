#include "synth/tensors.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "synth/type.h"
#include "synth/weights.h"

namespace brimful::synth {
namespace {

/// A router chooses the experts with the largest of `experts` random numbers, so experts whose numbers vary
/// most are chosen most often. With 8 of 128 experts, these values give three quarters of the choices to a
/// quarter of the experts.
constexpr float kSkew = 0.55F;
constexpr float kMostVaried = 2.0F;

/// Returns gains that follow Zipf's law over a random order of the rows.
std::vector<float> skewed_gains(std::size_t rows, std::uint64_t seed) {
  std::vector<std::size_t> order(rows);
  std::iota(order.begin(), order.end(), 0U);
  SynthRandom random(seed);
  for (std::size_t i = rows; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  std::vector<float> gains(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    gains[order[i]] = kMostVaried * std::pow(static_cast<float>(i + 1), -kSkew);
  }
  return gains;
}

}  // namespace

Result<SynthRouter> find_synth_router(std::string_view name) {
  if (name == "uniform") return SynthRouter::kUniform;
  if (name == "skewed") return SynthRouter::kSkewed;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("there is no router called '{}'; choose one of uniform, skewed", name));
}

std::vector<SynthTensor> synth_tensors(const SynthShape& shape, ggml_type type, SynthRouter router,
                                       std::uint64_t seed) {
  std::vector<SynthTensor> tensors;
  const auto add = [&](const TensorTemplate& from, std::string name) {
    SynthTensor tensor;
    tensor.name = std::move(name);
    tensor.fill = from.fill;
    tensor.gain = from.gain;
    tensor.mean = from.mean;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) tensor.shape[i] = from.shape[i].in(shape);
    if (from.fill == SynthFill::kMatrix)
      tensor.type = type_for_rows(from.type.value_or(type), tensor.shape[0]);
    if (from.fill == SynthFill::kRouter) {
      const auto rows = static_cast<std::size_t>(tensor.rows());
      tensor.row_gains = router == SynthRouter::kSkewed ? skewed_gains(rows, synth_seed(seed, tensor.name))
                                                        : std::vector<float>(rows, 1.0F);
    }
    tensors.push_back(std::move(tensor));
  };
  const SynthDesign& design = find_synth_design(shape.design);
  for (const TensorTemplate& from : design.input) add(from, std::string(from.name));
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (const LayerTensors& group : design.layers) {
      if (!design.in_set(group.layers, layer, shape.layers)) continue;
      for (const TensorTemplate& from : group.tensors) add(from, fmt::format("blk.{}.{}", layer, from.name));
    }
  }
  for (const TensorTemplate& from : design.output) {
    if (shape.tied && from.name == "output.weight") continue;
    add(from, std::string(from.name));
  }
  return tensors;
}

}  // namespace brimful::synth

#include "synth/core.h"

#include <fmt/format.h>

#include <cmath>

#include "model/gguf_values.h"
#include "model/header_file.h"

namespace brimful::synth {
namespace {

Status unsupported(const std::filesystem::path& path, std::string_view why) {
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: cannot be the core of a model: {}", path.string(), why));
}

}  // namespace

Result<SynthCore> SynthCore::open(const std::filesystem::path& path) {
  SynthCore core;
  BRIMFUL_TRY(core.profile_, model::read_model(path));
  if (core.profile_.architecture != "llama" || core.profile_.files.size() != 1)
    return std::unexpected(unsupported(path, "it is no llama in one file").error());
  for (const model::TensorInfo& tensor : core.profile_.tensors) {
    if (tensor.type != GGML_TYPE_F32)
      return std::unexpected(unsupported(path, "its weights are not F32").error());
  }
  BRIMFUL_TRY_VOID(core.read_sizes());
  core.weights_ = std::make_unique<std::ifstream>(path, std::ios::binary);
  return core;
}

Status SynthCore::read_sizes() {
  BRIMFUL_TRY(const model::HeaderFile file, model::read_header(profile_.files.front().path));
  const model::GgufValues values(file.header, file.bytes);
  sizes_.layers = profile_.layers;
  sizes_.embedding = profile_.embedding;
  const auto number = [&](std::string_view key, std::uint32_t& to) -> Status {
    BRIMFUL_TRY(const auto value, values.u32(key));
    to = value.value_or(to);
    return {};
  };
  BRIMFUL_TRY_VOID(number("llama.feed_forward_length", sizes_.feed_forward));
  BRIMFUL_TRY_VOID(number("llama.attention.head_count", sizes_.heads));
  sizes_.kv_heads = sizes_.heads;
  BRIMFUL_TRY_VOID(number("llama.attention.head_count_kv", sizes_.kv_heads));
  BRIMFUL_TRY(const auto base, values.f32("llama.rope.freq_base"));
  BRIMFUL_TRY(const auto epsilon, values.f32("llama.attention.layer_norm_rms_epsilon"));
  sizes_.rope_base = base.value_or(sizes_.rope_base);
  sizes_.rms_epsilon = epsilon.value_or(sizes_.rms_epsilon);
  if (sizes_.heads == 0 || sizes_.kv_heads == 0 || sizes_.feed_forward == 0)
    return unsupported(file.file.path, "its header does not say how large it is");
  return {};
}

Result<SynthShape> SynthCore::shape_around(SynthShape like) const {
  const std::uint32_t group = sizes_.heads / sizes_.kv_heads;
  const bool fits = like.design == "llama" && like.layers >= sizes_.layers &&
                    like.embedding >= sizes_.embedding && like.feed_forward >= sizes_.feed_forward &&
                    like.heads >= sizes_.heads && like.heads % group == 0;
  if (!fits) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' cannot be made around {}: choose a llama that is larger in every way",
                            like.name, profile_.files.front().path.string()));
  }
  like.head_size = sizes_.embedding / sizes_.heads;
  like.kv_heads = like.heads / group;
  like.context = profile_.train_context;
  like.rope_base = sizes_.rope_base;
  // A norm divides by the mean over all elements, and the additional ones are nearly zero.
  like.rms_epsilon =
      sizes_.rms_epsilon * static_cast<float>(sizes_.embedding) / static_cast<float>(like.embedding);
  like.tied = profile_.find("output.weight") == nullptr;
  return like;
}

void SynthCore::put_into(std::vector<SynthTensor>& tensors, const SynthShape& shape, float noise) const {
  const float norm_gain =
      std::sqrt(static_cast<float>(sizes_.embedding) / static_cast<float>(shape.embedding));
  for (SynthTensor& tensor : tensors) {
    const bool matrix = tensor.fill == SynthFill::kMatrix;
    if (matrix) tensor.gain *= noise;
    const model::TensorInfo* const inner = profile_.find(tensor.name);
    if (inner == nullptr) continue;
    tensor.corner = SynthCorner{inner->offset, inner->shape[0], inner->rows(), matrix ? 1.0F : norm_gain};
  }
}

Status SynthCore::read_row(const SynthCorner& corner, std::int64_t row, std::span<float> out) const {
  const std::uint64_t bytes = static_cast<std::uint64_t>(corner.row_length) * sizeof(float);
  weights_->seekg(static_cast<std::streamoff>(corner.offset + static_cast<std::uint64_t>(row) * bytes));
  weights_->read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(bytes));
  if (!*weights_)
    return fail(ErrorCode::kIo, fmt::format("{}: cannot be read", profile_.files.front().path.string()));
  for (float& value : out.first(static_cast<std::size_t>(corner.row_length))) value *= corner.gain;
  return {};
}

}  // namespace brimful::synth

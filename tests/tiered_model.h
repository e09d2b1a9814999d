#pragma once

#include <llama.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/model_loader.h"
#include "memory/pool.h"
#include "model/model_profile.h"
#include "plan/placement.h"
#include "test_device.h"
#include "tier/gpu/gpu_device.h"
#include "tier/host/host_device.h"

namespace brimful::tests {

struct ContextFree {
  void operator()(llama_context* c) const { llama_free(c); }
};
using engine::ModelPtr;
using ContextPtr = std::unique_ptr<llama_context, ContextFree>;

/// The settings of a model and its context. They are the same for both sides of a comparison.
struct Settings {
  std::uint32_t context = 1024;
  std::uint32_t ubatch = 512;
  int threads = 2;
  llama_flash_attn_type flash_attention = LLAMA_FLASH_ATTN_TYPE_AUTO;
  ggml_type cache_type = GGML_TYPE_F16;
  std::uint32_t sequences = 1;
  std::uint32_t outputs = 1;  ///< The most outputs of one ubatch.
  bool embeddings = false;    ///< Whether the output is an embedding of each sequence. For encoders.
  bool token_by_token =
      false;                ///< Whether a pass of `outputs` tokens is recorded that computes them one by one.
  bool file_order = false;  ///< Whether weights keep the file's layout, with ggml's plain kernels.
};

/// The logits after a prompt, and after each of the greedy tokens that follow it.
struct Trace {
  std::vector<std::vector<float>> logits;
  std::vector<llama_token> tokens;

  /// Compares bit for bit. A NaN is equal to nothing.
  bool operator==(const Trace&) const = default;
};

/// Empties the context, computes the prompt, and then `steps` greedy tokens. An empty trace means that
/// decoding failed.
[[nodiscard]] Trace trace(llama_context* context, const std::vector<llama_token>& prompt, int steps);

/// A batch of tokens for several sequences.
struct SequenceBatch {
  struct Token {
    llama_token token = 0;
    llama_pos position = 0;
    llama_seq_id sequence = 0;
    bool output = false;
  };
  std::vector<Token> tokens;

  void add(llama_seq_id sequence, llama_pos first, const std::vector<llama_token>& more);
};

/// Computes one batch. Returns the logits of each output, or the embedding of each sequence; empty when
/// decoding failed.
[[nodiscard]] std::vector<std::vector<float>> outputs_of(llama_context* context, const SequenceBatch& batch);
/// The same, where `decode` computes the batch in this context.
[[nodiscard]] std::vector<std::vector<float>> outputs_of(
    llama_context* context, const SequenceBatch& batch,
    const std::function<bool(const llama_batch&)>& decode);

/// The oracle: plain llama.cpp on the CPU, with everything in memory. Weights have its fastest layout,
/// unless `file_order` is set.
class PlainModel {
 public:
  PlainModel(const std::filesystem::path& path, const Settings& settings);
  [[nodiscard]] llama_context* context() const { return context_.get(); }

 private:
  ModelPtr model_;
  ContextPtr context_;
};

/// The layers of a model that lie on a test device.
struct OffloadTo {
  TestDevice* device = nullptr;
  /// The number of layers, which are the first ones. One more than the model has: the output lies there,
  /// too.
  std::uint32_t layers = 0;
  /// The size of the ring for weights that are sent to the device for batches.
  Bytes ring = {};
  Bytes budget = kGiB * 64;
  /// The number of slots for experts in each of these layers; 0: all experts lie on the device.
  std::uint32_t slots = 0;
  /// Whether other experts are sent to the device when a step needs them.
  bool send_experts = false;
  /// The number of threads that turn weights back to the file's layout.
  int turning_threads = 1;
  /// The percentage of the rows of each of the host's matrices that the device multiplies in passes of few
  /// tokens.
  unsigned rows = 0;
  /// The number of first layers whose KV cache lies there. Unset: as many as `layers`.
  std::optional<std::uint32_t> cells_of_layers = std::nullopt;
};

/// A model on our host device, with an exact number of bytes for weights and ring.
class TieredModel {
 public:
  struct Loaded;
  /// Returns the number of bytes for weights and ring, from the model and the uses of its tensors in the
  /// graphs.
  using ChooseArena = std::function<Bytes(const model::ModelProfile&, const std::vector<plan::TensorUse>&)>;
  [[nodiscard]] static Result<std::unique_ptr<TieredModel>> load(const std::filesystem::path& path,
                                                                 const Settings& settings,
                                                                 const ChooseArena& arena,
                                                                 tier::ReaderFactory make_reader = {},
                                                                 OffloadTo offload = {});
  [[nodiscard]] llama_context* context() const { return context_.get(); }
  [[nodiscard]] tier::HostDevice& device() const { return *device_; }
  [[nodiscard]] tier::GpuDevice& offload() const { return *offload_; }
  [[nodiscard]] const memory::Pool& device_pool() const { return *device_pool_; }
  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }
  /// Rows of the host's matrices that the device multiplies in passes of few tokens.
  [[nodiscard]] const std::vector<plan::DeviceRows>& rows() const { return rows_; }
  [[nodiscard]] const plan::Placement& placement() const { return placement_; }
  /// Whether some weights do not stay in memory.
  [[nodiscard]] bool streams() const {
    return placement_.streamed_per_pass.value > 0 || !placement_.groups.empty();
  }

 private:
  TieredModel() : pool_("host", kGiB * 64) {}

  model::ModelProfile profile_;
  memory::Pool pool_;
  std::unique_ptr<memory::Pool> device_pool_;
  std::unique_ptr<tier::HostDevice> device_;
  std::unique_ptr<tier::GpuDevice> offload_;
  ModelPtr model_;
  ContextPtr context_;
  plan::Placement placement_;
  std::vector<plan::DeviceRows> rows_;
};

/// Chooses `percent` of the weights that are computed with, but at least as much as the smallest ring and
/// the pinned tensors need. 0 means exactly that minimum.
[[nodiscard]] TieredModel::ChooseArena percent_of_weights(unsigned percent);

/// Returns `count` token ids of the vocabulary. The same arguments give the same ids.
[[nodiscard]] std::vector<llama_token> some_tokens(const llama_context* context, std::size_t count);

/// The path of the demo's trained model; empty when it is missing.
[[nodiscard]] std::filesystem::path stories15m();
/// The path of a file in ../shared; empty when it is missing.
[[nodiscard]] std::filesystem::path shared_file(const std::string& name);

}  // namespace brimful::tests

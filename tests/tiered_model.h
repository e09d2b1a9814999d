#pragma once

#include <llama.h>

#include <filesystem>
#include <memory>
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

/// The same for both sides of a comparison.
struct Settings {
  std::uint32_t context = 1024;
  std::uint32_t ubatch = 512;
  int threads = 2;
  llama_flash_attn_type flash_attention = LLAMA_FLASH_ATTN_TYPE_AUTO;
  ggml_type cache_type = GGML_TYPE_F16;
  std::uint32_t sequences = 1;
  std::uint32_t outputs = 1;    ///< of one ubatch
  bool embeddings = false;      ///< for an encoder: embeddings come out, one for each sequence
  bool token_by_token = false;  ///< `outputs` tokens are recorded to be computed so
  bool file_order = false;      ///< weights keep the file's order: ggml's plain kernels
};

/// Logits after a prompt, and after each of `steps` greedy tokens that follow.
struct Trace {
  std::vector<std::vector<float>> logits;
  std::vector<llama_token> tokens;

  /// Bit for bit; a NaN equals nothing.
  bool operator==(const Trace&) const = default;
};

/// Empties the context, then computes. An empty trace means that decoding failed.
[[nodiscard]] Trace trace(llama_context* context, const std::vector<llama_token>& prompt, int steps);

/// Tokens for some sequences, in one batch.
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

/// What comes out of one batch: the logits of each output, or each sequence's embedding; nothing where
/// decoding failed.
[[nodiscard]] std::vector<std::vector<float>> outputs_of(llama_context* context, const SequenceBatch& batch);

/// The oracle: plain llama.cpp on the CPU, everything in memory, its fastest layout unless `file_order`.
class PlainModel {
 public:
  PlainModel(const std::filesystem::path& path, const Settings& settings);
  [[nodiscard]] llama_context* context() const { return context_.get(); }

 private:
  ModelPtr model_;
  ContextPtr context_;
};

/// A model's first layers on another device; one more than it has: the output, too.
struct OffloadTo {
  TestDevice* device = nullptr;
  std::uint32_t layers = 0;
  Bytes ring = {};  ///< for weights that are sent for batches
  Bytes budget = kGiB * 64;
  std::uint32_t slots = 0;    ///< of these layers' experts, those that lie there; 0: all
  bool send_experts = false;  ///< the others are sent when a step needs them
};

/// A model on our device, with exactly this much memory for weights and ring.
class TieredModel {
 public:
  struct Loaded;
  /// `arena`: given what the graphs use, how many bytes to place the weights in.
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
  [[nodiscard]] const plan::Placement& placement() const { return placement_; }
  /// Not all weights stay in memory.
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
};

/// `percent` of the weights that are computed with, but at least what the smallest ring and the pinned
/// tensors need; 0: exactly that.
[[nodiscard]] TieredModel::ChooseArena percent_of_weights(unsigned percent);

/// `count` token ids that the vocabulary has, the same for the same arguments.
[[nodiscard]] std::vector<llama_token> some_tokens(const llama_context* context, std::size_t count);

/// The trained model of the demo, wherever it lies; empty when it is not there.
[[nodiscard]] std::filesystem::path stories15m();
/// A file of ../shared; empty when it is not there.
[[nodiscard]] std::filesystem::path shared_file(const std::string& name);

}  // namespace brimful::tests

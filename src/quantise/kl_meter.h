#pragma once

#include <ggml-backend.h>
#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"
#include "quantise/importance.h"

namespace brimful::quantise {

/// Measures by how much a changed weight changes what a model predicts: the mean Kullback-Leibler divergence
/// of its next-token distributions from those of the unchanged model, over a calibration text. The whole
/// model lies in memory; weights are changed in place. Not thread-safe. Holds: memory_needed().
class KlMeter {
 public:
  /// How much text is measured with.
  struct Sample {
    std::size_t windows = 4;
    std::size_t window_tokens = 256;
    /// The first tokens of a window are not measured: they have little before them.
    std::size_t skipped = 32;
    [[nodiscard]] std::size_t positions() const { return windows * (window_tokens - 1 - skipped); }
  };

  /// The memory that a meter needs, estimated from above.
  [[nodiscard]] static Bytes memory_needed(const model::ModelProfile& profile, const Sample& sample);

  /// Loads the model with libllama. Errors: kUnsupported where libllama refuses it, or where it is no decoder
  /// with a vocabulary. Blocks: while it reads the model.
  [[nodiscard]] static Result<std::unique_ptr<KlMeter>> load(const model::ModelProfile& profile,
                                                             Sample sample, unsigned threads);
  ~KlMeter();
  KlMeter(const KlMeter&) = delete;
  KlMeter& operator=(const KlMeter&) = delete;

  /// Takes windows of the text, evenly spread over it. Errors: kInvalidArgument when it is shorter than one
  /// window.
  [[nodiscard]] Status take_text(const std::string& text);
  /// Takes text that the model writes itself, one window after another, always the same.
  [[nodiscard]] Status write_text();

  /// Computes what the unchanged model predicts, and the importance of each column of its weights. Requires:
  /// take_text() or write_text(). Errors: kInternal when libllama fails.
  [[nodiscard]] Status measure_reference();
  /// The importance that measure_reference() computed.
  [[nodiscard]] const Importance& importance() const { return importance_; }

  /// The weights of that name in memory: one tensor, or more where libllama has several copies. Empty when
  /// the model does not use it for this text.
  [[nodiscard]] std::vector<ggml_tensor*> weights(const std::string& name) const;

  /// The mean divergence, in nats per token, of the model as it is now. Requires: measure_reference().
  /// Errors: kInternal when libllama fails.
  [[nodiscard]] Result<double> divergence();

  /// A number that tells the measured tokens from others.
  [[nodiscard]] std::uint64_t text_hash() const;
  [[nodiscard]] const Sample& sample() const { return sample_; }

 private:
  struct ModelDeleter {
    void operator()(llama_model* model) const { llama_model_free(model); }
  };
  struct ContextDeleter {
    void operator()(llama_context* context) const { llama_free(context); }
  };
  /// Sums of squares of the inputs of one weight, by expert.
  struct Squares {
    std::vector<double> sums;
    std::vector<std::int64_t> counts;
  };
  /// Gets the logits of some positions, one row of the vocabulary each, and the number of the first one.
  using OnLogits = std::function<void(const float* logits, std::size_t count, std::size_t first)>;

  KlMeter(Sample sample, unsigned threads) : sample_(sample), threads_(threads) {}
  static bool on_node(ggml_tensor* node, bool ask, void* self);
  bool wants(const ggml_tensor* node);
  void collect(const ggml_tensor* node);
  [[nodiscard]] Status forward(const OnLogits& on_logits);
  void finish_importance();

  const Sample sample_;
  const unsigned threads_;
  std::unique_ptr<llama_model, ModelDeleter> model_;
  std::unique_ptr<llama_context, ContextDeleter> context_;
  std::size_t vocabulary_ = 0;
  std::vector<std::vector<llama_token>> windows_;
  bool collecting_ = false;
  bool seen_ = false;  // whether all weights are in weights_
  std::map<std::string, std::vector<ggml_tensor*>> weights_;
  std::map<std::string, Squares> squares_;
  std::vector<float> reference_;  // log probabilities, positions() rows of the vocabulary
  Importance importance_;
};

}  // namespace brimful::quantise

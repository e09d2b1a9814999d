#include "quantise/kl_meter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "base/hash.h"
#include "base/in_threads.h"
#include "engine/llama_log.h"
#include "engine/tokenize.h"

namespace brimful::quantise {
namespace {

/// The least importance of a column; the mean is 1.
constexpr double kLeast = 1e-4;

/// Windows that are computed together.
std::size_t sequences(std::size_t vocabulary) { return vocabulary > 65536 ? 1 : 2; }

struct Batch {
  explicit Batch(std::size_t tokens) : value(llama_batch_init(static_cast<int>(tokens), 0, 1)) {
    value.n_tokens = 0;
  }
  ~Batch() { llama_batch_free(value); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  void add(llama_token token, std::size_t position, std::size_t sequence, bool logits) {
    const int i = value.n_tokens++;
    value.token[i] = token;
    value.pos[i] = static_cast<llama_pos>(position);
    value.n_seq_id[i] = 1;
    value.seq_id[i][0] = static_cast<llama_seq_id>(sequence);
    value.logits[i] = logits ? 1 : 0;
  }
  llama_batch value;
};

/// log of the sum of the exponentials.
float log_sum(const float* logits, std::size_t n) {
  const float most = *std::max_element(logits, logits + n);
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(std::exp(logits[i] - most));
  return most + static_cast<float>(std::log(sum));
}

double divergence_of(const float* reference, const float* logits, std::size_t n) {
  const float total = log_sum(logits, n);
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i)
    sum += static_cast<double>(std::exp(reference[i]) * (reference[i] - (logits[i] - total)));
  return sum;
}

const std::byte* row(const ggml_tensor* tensor, std::int64_t i1, std::int64_t i2) {
  return static_cast<const std::byte*>(tensor->data) + static_cast<std::size_t>(i1) * tensor->nb[1] +
         static_cast<std::size_t>(i2) * tensor->nb[2];
}

void add_squares(const std::byte* from, std::int64_t width, double* sums) {
  const auto* const values = reinterpret_cast<const float*>(from);
  for (std::int64_t i = 0; i < width; ++i) sums[i] += static_cast<double>(values[i] * values[i]);
}

std::unexpected<Error> cannot_compute() {
  return std::unexpected(engine::with_llama_error(ErrorCode::kInternal, "libllama could not compute"));
}

}  // namespace

Bytes KlMeter::memory_needed(const model::ModelProfile& profile, const Sample& sample) {
  const std::uint64_t vocabulary = profile.vocabulary;
  const std::uint64_t tokens = sequences(vocabulary) * sample.window_tokens;
  std::uint64_t widest = profile.embedding;
  std::uint64_t largest = 0;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (tensor.layer) widest = std::max(widest, static_cast<std::uint64_t>(tensor.shape[1]));
    largest = std::max(largest, tensor.bytes.value);
  }
  // Weights, one of them twice; the reference and two copies of a batch's logits; what a layer computes.
  return profile.weight_bytes() + Bytes{largest} + Bytes{sample.positions() * vocabulary * sizeof(float)} +
         Bytes{2 * tokens * vocabulary * sizeof(float)} + Bytes{tokens * widest * 16 * sizeof(float)} +
         Bytes{48 * 1024 * 1024};
}

KlMeter::~KlMeter() = default;

Result<std::unique_ptr<KlMeter>> KlMeter::load(const model::ModelProfile& profile, Sample sample,
                                               unsigned threads) {
  std::unique_ptr<KlMeter> out(new KlMeter(sample, threads));
  llama_model_params model = llama_model_default_params();
  model.load_mode = LLAMA_LOAD_MODE_NONE;
  model.use_extra_bufts = false;  // other layouts could not be changed in place
  model.n_gpu_layers = 0;
  const std::string& path = profile.files.front().path.string();
  out->model_.reset(llama_model_load_from_file(path.c_str(), model));
  if (!out->model_)
    return std::unexpected(
        engine::with_llama_error(ErrorCode::kUnsupported, fmt::format("{}: libllama cannot load it", path)));
  const llama_vocab* const vocab = llama_model_get_vocab(out->model_.get());
  out->vocabulary_ = static_cast<std::size_t>(llama_vocab_n_tokens(vocab));
  if (out->vocabulary_ == 0 || !llama_model_has_decoder(out->model_.get()) ||
      llama_model_has_encoder(out->model_.get()))
    return fail(ErrorCode::kUnsupported, fmt::format("{}: is no model that writes text", path));
  const std::size_t together = sequences(out->vocabulary_);
  const auto tokens = static_cast<std::uint32_t>(together * sample.window_tokens);
  llama_context_params context = llama_context_default_params();
  context.n_ctx = tokens;
  context.n_batch = context.n_ubatch = tokens;
  context.n_seq_max = static_cast<std::uint32_t>(together);
  context.n_threads = context.n_threads_batch = static_cast<int>(threads);
  context.cb_eval = on_node;
  context.cb_eval_user_data = out.get();
  context.no_perf = true;
  out->context_.reset(llama_init_from_model(out->model_.get(), context));
  if (!out->context_)
    return std::unexpected(
        engine::with_llama_error(ErrorCode::kUnsupported, fmt::format("{}: libllama cannot run it", path)));
  return out;
}

Status KlMeter::take_text(const std::string& text) {
  const llama_vocab* const vocab = llama_model_get_vocab(model_.get());
  BRIMFUL_TRY(const std::vector<llama_token> tokens, engine::tokenize(vocab, text, false, false));
  const std::size_t length = sample_.window_tokens;
  const llama_token begin = llama_vocab_bos(vocab);
  const bool with_begin = llama_vocab_get_add_bos(vocab) && begin != LLAMA_TOKEN_NULL;
  const std::size_t taken = with_begin ? length - 1 : length;
  if (tokens.size() < taken)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the calibration text has {} tokens: {} or more are needed", tokens.size(), taken));
  const std::size_t count = std::min(sample_.windows, tokens.size() / taken);
  windows_.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t start = count == 1 ? 0 : (tokens.size() - taken) * i / (count - 1);
    std::vector<llama_token>& window = windows_.emplace_back();
    if (with_begin) window.push_back(begin);
    window.insert(window.end(), tokens.begin() + static_cast<std::ptrdiff_t>(start),
                  tokens.begin() + static_cast<std::ptrdiff_t>(start + taken));
  }
  return {};
}

Status KlMeter::write_text() {
  const llama_vocab* const vocab = llama_model_get_vocab(model_.get());
  llama_token begin = llama_vocab_bos(vocab);
  if (begin == LLAMA_TOKEN_NULL) begin = llama_vocab_eos(vocab);
  if (begin == LLAMA_TOKEN_NULL) begin = 0;
  std::mt19937_64 random(20261201);
  const std::size_t together = sequences(vocabulary_);
  windows_.assign(sample_.windows, {begin});
  for (std::size_t first = 0; first < windows_.size(); first += together) {
    const std::size_t count = std::min(together, windows_.size() - first);
    llama_memory_clear(llama_get_memory(context_.get()), false);
    for (std::size_t position = 0; position + 1 < sample_.window_tokens; ++position) {
      Batch batch(count);
      for (std::size_t s = 0; s < count; ++s) batch.add(windows_[first + s].back(), position, s, true);
      if (llama_decode(context_.get(), batch.value) != 0) return cannot_compute();
      for (std::size_t s = 0; s < count; ++s) {
        const float* const logits = llama_get_logits_ith(context_.get(), static_cast<int>(s));
        const float total = log_sum(logits, vocabulary_);
        // Samples with temperature 1: the text is as likely as the model finds it.
        double left = static_cast<double>(random() >> 11) * 0x1p-53;
        std::size_t token = 0;
        for (; token + 1 < vocabulary_; ++token) {
          left -= static_cast<double>(std::exp(logits[token] - total));
          if (left < 0) break;
        }
        windows_[first + s].push_back(static_cast<llama_token>(token));
      }
    }
  }
  return {};
}

std::uint64_t KlMeter::text_hash() const {
  Hash64 hash;
  for (const std::vector<llama_token>& window : windows_)
    hash.add({reinterpret_cast<const char*>(window.data()), window.size() * sizeof(llama_token)});
  return hash.value();
}

bool KlMeter::on_node(ggml_tensor* node, bool ask, void* self) {
  auto& meter = *static_cast<KlMeter*>(self);
  if (ask) return meter.wants(node);
  meter.collect(node);
  return true;
}

/// Notes the weights that the node uses. Returns whether its inputs count for the importance.
bool KlMeter::wants(const ggml_tensor* node) {
  if (seen_ && !collecting_) return false;
  ggml_tensor* const weight = node->src[0];
  const bool product = node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID;
  if (weight == nullptr || (!product && node->op != GGML_OP_GET_ROWS)) return false;
  const std::string_view name = weight->name;
  if (!name.ends_with(".weight")) return false;
  std::vector<ggml_tensor*>& known = weights_[std::string(name)];
  if (std::ranges::find(known, weight) == known.end()) known.push_back(weight);
  return product && collecting_;
}

void KlMeter::collect(const ggml_tensor* node) {
  const ggml_tensor* const weight = node->src[0];
  const ggml_tensor* const input = node->src[1];
  if (input->type != GGML_TYPE_F32) return;
  Squares& squares = squares_[weight->name];
  const std::int64_t width = input->ne[0];
  const bool by_expert = node->op == GGML_OP_MUL_MAT_ID;
  const auto experts = static_cast<std::size_t>(by_expert ? weight->ne[2] : 1);
  squares.sums.resize(experts * static_cast<std::size_t>(width));
  squares.counts.resize(experts);
  if (!by_expert) {
    for (std::int64_t i3 = 0; i3 < input->ne[3]; ++i3) {
      for (std::int64_t i2 = 0; i2 < input->ne[2]; ++i2) {
        for (std::int64_t i1 = 0; i1 < input->ne[1]; ++i1)
          add_squares(row(input, i1, i2) + static_cast<std::size_t>(i3) * input->nb[3], width,
                      squares.sums.data());
      }
    }
    squares.counts[0] += input->ne[1] * input->ne[2] * input->ne[3];
    return;
  }
  const ggml_tensor* const ids = node->src[2];  // [used experts, tokens]
  for (std::int64_t token = 0; token < ids->ne[1]; ++token) {
    for (std::int64_t used = 0; used < ids->ne[0]; ++used) {
      std::int32_t expert = 0;
      std::memcpy(&expert, row(ids, token, 0) + static_cast<std::size_t>(used) * ids->nb[0], sizeof expert);
      if (expert < 0 || static_cast<std::size_t>(expert) >= experts) continue;
      add_squares(row(input, used % input->ne[1], token), width,
                  squares.sums.data() + static_cast<std::int64_t>(expert) * width);
      ++squares.counts[static_cast<std::size_t>(expert)];
    }
  }
}

Status KlMeter::forward(const OnLogits& on_logits) {
  const std::size_t together = sequences(vocabulary_);
  std::size_t done = 0;
  for (std::size_t first = 0; first < windows_.size(); first += together) {
    const std::size_t count = std::min(together, windows_.size() - first);
    llama_memory_clear(llama_get_memory(context_.get()), false);
    Batch batch(count * sample_.window_tokens);
    for (std::size_t s = 0; s < count; ++s) {
      for (std::size_t i = 0; i < sample_.window_tokens; ++i)
        batch.add(windows_[first + s][i], i, s, i >= sample_.skipped && i + 1 < sample_.window_tokens);
    }
    if (llama_decode(context_.get(), batch.value) != 0) return cannot_compute();
    const std::size_t rows = count * (sample_.window_tokens - 1 - sample_.skipped);
    on_logits(llama_get_logits(context_.get()), rows, done);
    done += rows;
  }
  seen_ = true;
  return {};
}

Status KlMeter::measure_reference() {
  const std::size_t rows = windows_.size() * (sample_.window_tokens - 1 - sample_.skipped);
  reference_.resize(rows * vocabulary_);
  collecting_ = true;
  const Status done = forward([&](const float* logits, std::size_t count, std::size_t first) {
    in_threads(static_cast<std::int64_t>(count), threads_, [&](std::int64_t i) {
      const float* const from = logits + static_cast<std::size_t>(i) * vocabulary_;
      float* const to = reference_.data() + (first + static_cast<std::size_t>(i)) * vocabulary_;
      const float total = log_sum(from, vocabulary_);
      for (std::size_t t = 0; t < vocabulary_; ++t) to[t] = from[t] - total;
    });
  });
  collecting_ = false;
  if (done) finish_importance();
  return done;
}

void KlMeter::finish_importance() {
  for (const auto& [name, squares] : squares_) {
    std::vector<float>& out = importance_.columns[name];
    out.resize(squares.sums.size());
    const std::size_t width = squares.sums.size() / squares.counts.size();
    for (std::size_t expert = 0; expert < squares.counts.size(); ++expert) {
      const double* const sums = squares.sums.data() + expert * width;
      double mean = 0;
      for (std::size_t i = 0; i < width; ++i) mean += sums[i] / static_cast<double>(width);
      // Experts that the text never reached count all columns alike, as in llama.cpp's quantiser. A column
      // without any input counts a little: ggml divides by the sum of a block.
      for (std::size_t i = 0; i < width; ++i)
        out[expert * width + i] = mean > 0 ? static_cast<float>(sums[i] / mean + kLeast) : 1.0F;
    }
  }
  squares_.clear();
}

std::vector<ggml_tensor*> KlMeter::weights(const std::string& name) const {
  const auto found = weights_.find(name);
  return found == weights_.end() ? std::vector<ggml_tensor*>{} : found->second;
}

Result<double> KlMeter::divergence() {
  std::vector<double> each(reference_.size() / vocabulary_);
  BRIMFUL_TRY_VOID(forward([&](const float* logits, std::size_t count, std::size_t first) {
    in_threads(static_cast<std::int64_t>(count), threads_, [&](std::int64_t i) {
      const std::size_t at = first + static_cast<std::size_t>(i);
      each[at] = divergence_of(reference_.data() + at * vocabulary_,
                               logits + static_cast<std::size_t>(i) * vocabulary_, vocabulary_);
    });
  }));
  double sum = 0;
  for (const double value : each) sum += value;
  return sum / static_cast<double>(each.size());
}

}  // namespace brimful::quantise

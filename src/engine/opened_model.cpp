#include "engine/opened_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "model/heads.h"

namespace brimful::engine {
namespace {

/// Whether the metadata value `pooling` is this llama_pooling_type.
bool is(const std::string& pooling, enum llama_pooling_type type) { return pooling == std::to_string(type); }

}  // namespace

Result<std::unique_ptr<OpenedModel>> OpenedModel::open(OpenOptions options, model::ModelProfile profile,
                                                       RamBudget& ram) {
  std::unique_ptr<OpenedModel> out(new OpenedModel(std::move(options), std::move(profile)));
  BRIMFUL_TRY_VOID(out->load(ram));
  return out;
}

Status OpenedModel::load(RamBudget& ram) {
  const int threads = std::max(options_.threads, options_.threads_batch);
  if (options_.host_layout) host_layout_ = options_.host_layout(profile_);
  BRIMFUL_TRY(host_, tier::HostDevice::create(profile_, ram.pool(),
                                              {.threads = threads,
                                               .make_reader = options_.make_reader,
                                               .trace = options_.trace,
                                               .sends = !options_.offload.empty(),
                                               .in_file_order = host_layout_.in_file_order}));
  read_expert_heat();
  BRIMFUL_TRY_VOID(load_model());
  const auto unsupported = [&](std::string_view why) {
    return fail(ErrorCode::kUnsupported, fmt::format("{}: {}", options_.model.string(), why));
  };
  if (llama_vocab_type(vocab()) == LLAMA_VOCAB_TYPE_NONE) {
    return unsupported("it has no vocabulary, so it cannot read or write text; use a complete GGUF");
  }
  if (llama_model_has_encoder(model_.get()) || !llama_model_has_decoder(model_.get())) {
    return unsupported("encoder-decoder models are not supported yet");
  }
  only_embeds_ = pools() && metadata("attention.causal") == "false";
  if (!options_.offload.empty() && (!options_.loras.empty() || !options_.control_vectors.empty())) {
    return unsupported(
        fmt::format("adapters cannot be used with {} yet; leave one of the two out", options_.names.vram));
  }
  BRIMFUL_TRY_VOID(load_adapters(ram));
  if (!options_.draft_model) return {};
  BRIMFUL_TRY(draft_model_, DraftModel::open(*options_.draft_model, ram.pool(),
                                             {threads, options_.make_reader, nullptr, host_.get()},
                                             options_.names.draft_model));
  return {};
}

/// Loads the model with its heads, if they are asked for and can be used.
Status OpenedModel::load_model() {
  const bool required = options_.heads == Heads::kRequired;
  const Status usable = options_.heads == Heads::kNone ? Status{} : model::check_heads(profile_);
  if (required) BRIMFUL_TRY_VOID(usable);
  if (options_.heads != Heads::kNone && usable) {
    auto loaded = load_without_weights(profile_, *host_, {}, LoadedLayers::kWithHeads);
    if (loaded && llama_model_n_layer_nextn(loaded->get()) != 1) {
      loaded = fail(ErrorCode::kCorrupt,
                    fmt::format("{}: its header says that {} layers predict further tokens, but one has "
                                "their tensors",
                                options_.model.string(), llama_model_n_layer_nextn(loaded->get())));
    }
    if (loaded) {
      model_ = *std::move(loaded);
      heads_ = std::make_unique<ModelHeads>(model_.get(), *host_);
      return {};
    }
    if (required) return std::unexpected(std::move(loaded).error());
  }
  BRIMFUL_TRY(model_, load_without_weights(profile_, *host_));
  return {};
}

/// Before the budget is planned: reading needs more memory than what is read.
void OpenedModel::read_expert_heat() {
  if (!options_.expert_heat) return;
  if (auto heat = options_.expert_heat->read(profile_)) {
    host_->set_expert_heat(std::move(*heat));
  } else {
    note_on_heat_ = std::move(heat).error().message;
  }
}

OpenedModel::~OpenedModel() {
  if (options_.expert_heat && host_) std::ignore = options_.expert_heat->write(host_->expert_heat());
}

Status OpenedModel::load_adapters(const RamBudget& ram) {
  if (options_.loras.empty() && options_.control_vectors.empty()) return {};
  BRIMFUL_TRY(const Bytes room, ram.room());
  return adapters_.load(options_.loras, options_.control_vectors, profile_, model_.get(), room,
                        options_.names.ram);
}

SizedModel OpenedModel::sized() const {
  return {.file = options_.model.string(),
          .train_context = profile_.train_context,
          .vocabulary = llama_vocab_n_tokens(vocab()),
          .only_embeds = only_embeds_,
          .is_recurrent = llama_model_is_recurrent(model_.get()),
          .has_draft_model = draft_model_ != nullptr,
          .heads = heads_ != nullptr ? options_.heads : Heads::kNone};
}

/// The value of a metadata key of the model's architecture, as text; empty when the file does not have the
/// key.
std::string OpenedModel::metadata(std::string_view key) const {
  std::array<char, 64> value{};
  const std::string name = fmt::format("{}.{}", profile_.architecture, key);
  if (llama_model_meta_val_str(model_.get(), name.c_str(), value.data(), value.size()) < 0) return "";
  return value.data();
}

/// Whether libllama makes one vector of a whole text.
bool OpenedModel::pools() const {
  const std::string pooling = metadata("pooling_type");
  return is(pooling, LLAMA_POOLING_TYPE_MEAN) || is(pooling, LLAMA_POOLING_TYPE_CLS) ||
         is(pooling, LLAMA_POOLING_TYPE_LAST);
}

Status OpenedModel::can_embed() const {
  if (only_embeds_) return {};
  const std::string pooling = metadata("pooling_type");
  if (llama_model_is_recurrent(model_.get()) || llama_model_is_hybrid(model_.get()))
    return fail(ErrorCode::kUnsupported, "embeddings of recurrent models are not supported yet");
  if (pooling.empty() || is(pooling, LLAMA_POOLING_TYPE_NONE) || is(pooling, LLAMA_POOLING_TYPE_LAST))
    return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("this model's vectors are pooled in a way (pooling type {}) that cannot be had yet",
                          pooling));
}

std::optional<std::string> OpenedModel::note_on_vocabulary() const {
  std::array<char, 64> value{};
  if (llama_vocab_type(vocab()) != LLAMA_VOCAB_TYPE_BPE ||
      llama_model_meta_val_str(model_.get(), "tokenizer.ggml.pre", value.data(), value.size()) >= 0)
    return std::nullopt;
  return "the file does not say how its vocabulary splits text (tokenizer.ggml.pre is missing): llama.cpp's "
         "default is used, and answers may be worse; convert the model again";
}

const constraint::FirstCharacters& OpenedModel::first_characters() const {
  std::call_once(first_characters_once_, [this] { first_characters_.emplace(vocab()); });
  return *first_characters_;
}

}  // namespace brimful::engine

#include "engine/drafts/draft_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>

#include "engine/llama_log.h"
#include "memory/page_tables.h"
#include "model/gguf_reader.h"

namespace brimful::engine {
namespace {

using Clock = std::chrono::steady_clock;

// The draft model only reads prompts with it, and computes fast.
constexpr std::uint32_t kLargestUbatch = 256;
// Reading more new tokens than this is not counted as time for drafting.
constexpr std::size_t kLongText = 32;

}  // namespace

Result<std::unique_ptr<DraftModel>> DraftModel::open(const std::filesystem::path& path, memory::Pool& host,
                                                     tier::DeviceOptions options, std::string name) {
  BRIMFUL_TRY(model::ModelProfile profile, model::read_model(path));
  // Such a file has no complete model in it: its graph reads the target's embedding and output matrix.
  constexpr std::array<std::string_view, 3> kHeads{"eagle3", "dflash", "gemma4-assistant"};
  if (std::ranges::find(kHeads, profile.architecture) != kHeads.end()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{} {}: drafts by {} are not supported yet: use a smaller model of the same family", name,
                    path.string(), model::in_quotes(profile.architecture)));
  }
  std::unique_ptr<DraftModel> draft(new DraftModel(std::move(profile), host, std::move(name)));
  BRIMFUL_TRY(draft->device_, tier::HostDevice::create(draft->profile_, draft->pool_, std::move(options)));
  BRIMFUL_TRY(draft->model_, load_without_weights(draft->profile_, *draft->device_));
  return draft;
}

void DraftModel::free_context() {
  speculative_.reset();
  context_.reset();
  cached_.clear();
  device_->forget_needs();
}

Status DraftModel::make_context(llama_context* target, const llama_context_params& like_target) {
  free_context();
  llama_context_params params = like_target;
  params.n_ctx = llama_n_ctx(target);
  params.n_batch = params.n_ubatch = std::min(llama_n_ubatch(target), kLargestUbatch);
  params.n_outputs_max = params.n_seq_max = 1;
  params.type_k = params.type_v = GGML_TYPE_F16;
  context_.reset(llama_init_from_model(model_.get(), params));
  if (context_ == nullptr || llama_get_memory(context_.get()) == nullptr) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: cannot be used as a draft model: use a smaller model that generates text",
                            profile_.files.front().path.string()));
  }
  BRIMFUL_TRY_VOID(record());

  target_vocabulary_ = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(target)));
  common_params_speculative spec;
  spec.types = {COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE};
  spec.draft.ctx_tgt = target;
  spec.draft.ctx_dft = context_.get();
  spec.draft.n_max =
      static_cast<std::int32_t>(llama_n_batch(context_.get()));  // each draft sets its own length
  try {
    speculative_.reset(common_speculative_init(spec, 1));
  } catch (const std::exception&) {  // for two contexts like these, it has only one reason to refuse
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} {}: its vocabulary differs from that of the "
                                                         "main model: use a smaller model of the same family",
                                                         name_, profile_.files.front().path.string()));
  }
  return {};
}

Status DraftModel::record() {
  std::vector<llama_token> tokens(llama_n_batch(context_.get()), 0);
  llama_memory_t const memory = llama_get_memory(context_.get());
  const auto feed = [&](std::size_t count) {
    return llama_decode(context_.get(),
                        llama_batch_get_one(tokens.data(), static_cast<std::int32_t>(count))) == 0;
  };
  const bool fed = feed(tokens.size()) && (tokens.size() == llama_n_ctx(context_.get()) || feed(1));
  const bool forgets = llama_memory_seq_rm(memory, 0, 1, -1);
  llama_memory_clear(memory, false);
  BRIMFUL_TRY_VOID(take_error());
  if (fed && forgets) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("{} {}: {}", name_, profile_.files.front().path.string(),
                          fed ? "it cannot remove the last tokens from its state, so it cannot draft"
                              : "llama.cpp cannot build its graph"));
}

Result<plan::Placement> DraftModel::placement() const {
  return plan::place(profile_, device_->needs().uses, Bytes{UINT64_MAX / 2}, device_->bookkeeping());
}

/// Bytes in addition to the buffers: bookkeeping, page tables, and the candidates of its sampler.
Bytes DraftModel::runtime_bytes(const plan::Placement& placement) const {
  const tier::Needs needs = device_->needs();
  const Bytes buffers = device_->host_buffers().kv_bytes() + device_->host_buffers().compute_bytes();
  const auto vocabulary =
      static_cast<std::uint64_t>(llama_vocab_n_tokens(llama_model_get_vocab(model_.get())));
  return needs.reader + placement.bookkeeping(device_->bookkeeping()) +
         Bytes{sizeof(llama_token_data)} * vocabulary +
         memory::page_tables(buffers + needs.work + needs.staging) +
         memory::page_tables(placement.arena_bytes());
}

Result<Bytes> DraftModel::bytes_to_place() {
  device_->host_buffers().discard();
  BRIMFUL_TRY(const plan::Placement placement, this->placement());
  const tier::Needs needs = device_->needs();
  return device_->host_buffers().kv_bytes() + device_->host_buffers().compute_bytes() + needs.work +
         needs.staging + placement.arena_bytes() + runtime_bytes(placement);
}

Status DraftModel::place() {
  BRIMFUL_TRY(plan::Placement placement, this->placement());
  BRIMFUL_TRY(runtime_, pool_.reserve(runtime_bytes(placement), memory::Tag::kRuntime));
  return device_->place(std::move(placement), {});
}

Status DraftModel::displace() {
  BRIMFUL_TRY_VOID(device_->displace());
  free_context();
  device_->host_buffers().forget_pool();
  runtime_ = {};
  return {};
}

Status DraftModel::take_error() {
  if (auto error = device_->take_error(); error && error->code != ErrorCode::kCancelled)
    return std::unexpected(std::move(*error));
  return {};
}

/// Makes the KV cache hold `text` and nothing else. Returns how many tokens were computed.
Result<std::size_t> DraftModel::catch_up(const std::vector<llama_token>& text) {
  const auto [known, same] = std::mismatch(cached_.begin(), cached_.end(), text.begin(), text.end());
  const auto common = static_cast<std::size_t>(known - cached_.begin());
  llama_memory_seq_rm(llama_get_memory(context_.get()), 0, static_cast<llama_pos>(common), -1);
  cached_.resize(common);
  const std::size_t batch = llama_n_batch(context_.get());
  for (std::size_t at = common; at < text.size(); at += batch) {
    const std::size_t count = std::min(batch, text.size() - at);
    // libllama only reads the tokens, but its batch type has no const.
    auto* const first = const_cast<llama_token*>(text.data() + at);
    if (!common_speculative_process(speculative_.get(),
                                    llama_batch_get_one(first, static_cast<std::int32_t>(count)))) {
      llama_memory_clear(llama_get_memory(context_.get()), false);
      cached_.clear();
      BRIMFUL_TRY_VOID(take_error());
      return fail(ErrorCode::kCancelled, "drafting was cancelled");
    }
    cached_.insert(cached_.end(), first, first + count);
  }
  return text.size() - common;
}

Result<DraftModel::Draft> DraftModel::draft(const std::vector<llama_token>& text, llama_token last,
                                            std::size_t most) {
  Draft out;
  const auto unknown = [&](llama_token id) {
    return id >= llama_vocab_n_tokens(llama_model_get_vocab(model_.get()));
  };
  if (most == 0 || unknown(last) || std::ranges::any_of(text, unknown)) return out;
  const auto begin = Clock::now();
  const auto read = catch_up(text);
  if (!read) {
    if (read.error().code == ErrorCode::kCancelled) return out;
    return std::unexpected(read.error());
  }
  const auto caught_up = Clock::now();
  common_speculative_draft_params& params = common_speculative_get_draft_params(speculative_.get(), 0);
  params.drafting = true;
  params.n_max = static_cast<std::int32_t>(most);
  params.pos0 = static_cast<llama_pos>(text.size());
  params.id_last = last;
  params.prompt = &text;
  params.result = &out.tokens;
  common_speculative_draft(speculative_.get());
  out.seconds = std::chrono::duration<double>(Clock::now() - (*read > kLongText ? caught_up : begin)).count();
  BRIMFUL_TRY_VOID(take_error());
  // The KV cache also holds the drafted tokens, except the last one; fewer when the draft was cancelled.
  cached_.push_back(last);
  cached_.insert(cached_.end(), out.tokens.begin(), out.tokens.end());
  cached_.resize(
      std::min(cached_.size(),
               static_cast<std::size_t>(llama_memory_seq_pos_max(llama_get_memory(context_.get()), 0) + 1)));
  /// The target does not know tokens beyond its own vocabulary.
  const auto foreign =
      std::ranges::find_if(out.tokens, [&](llama_token id) { return id >= target_vocabulary_; });
  out.tokens.erase(foreign, out.tokens.end());
  return out;
}

}  // namespace brimful::engine

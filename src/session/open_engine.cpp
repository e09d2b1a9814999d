#include "session/open_engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/server.h"
#include "engine/sampler_memory.h"
#include "session/cache_type.h"
#include "session/context_choice.h"
#include "session/conversation.h"
#include "session/open_options.h"
#include "tier/stream/trace.h"

namespace brimful::session {
namespace {

constexpr std::uint64_t kLeastContext = 256;       // tokens
constexpr std::uint64_t kMostTokens = 1ULL << 20;  // of a prompt for which a context is made
constexpr std::string_view kAnyCache = "auto";
// The most that a caller reserves of each kind. It fits no machine, and sums of it do not wrap.
constexpr Bytes kMostReserve{1ULL << 60};
constexpr double kMostShare = 0.5;

std::optional<int> as_int(std::optional<std::uint32_t> number) {
  if (!number) return std::nullopt;
  return static_cast<int>(std::min<std::uint32_t>(*number, INT32_MAX));
}

bool chooses_cache(const ContextOptions& context) {
  return context.key_cache == kAnyCache && context.value_cache == kAnyCache;
}

Result<ggml_type> cache_type_of(std::string_view option, const std::string& name) {
  if (name == kAnyCache) return GGML_TYPE_F16;
  return cache_type(option, name, kAnyCache);
}

tier::ReaderKind reader_of(DiskReads reads) {
  switch (reads) {
    case DiskReads::kUring: return tier::ReaderKind::kUring;
    case DiskReads::kThreads: return tier::ReaderKind::kThreads;
    case DiskReads::kAuto: break;
  }
  return tier::ReaderKind::kAuto;
}

Result<engine::ContextOptions> shape_of(const ContextOptions& context) {
  const plan::OptionNames names;
  engine::ContextOptions out{.context = context.tokens, .ubatch = context.ubatch};
  BRIMFUL_TRY(out.type_k, cache_type_of(names.key_cache, context.key_cache));
  BRIMFUL_TRY(out.type_v, cache_type_of(names.value_cache, context.value_cache));
  if (context.flash_attention)
    out.flash_attention =
        *context.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  out.drafts = {.ngrams = context.drafts.from_text,
                .longest = context.drafts.most_tokens,
                .always = context.drafts.always};
  out.for_weights = context.weights_budget;
  BRIMFUL_TRY_VOID(check_value_cache(names.value_cache, out.type_v, context.flash_attention == false,
                                     "context.flash_attention"));
  return out;
}

/// What the caller and the session itself will still allocate, beside samplers and templates.
engine::ClientReserve client_reserve(const ContextOptions& context) {
  Bytes fixed = std::min(context.caller_reserve.fixed, kMostReserve);
  if (context.control_socket) fixed += control::Server::kMemory;
  if (context.trace) fixed += tier::Trace::bytes();
  return [fixed, caller = context.caller_reserve](Bytes budget) {
    if (caller.share <= 0) return fixed;
    const auto part = static_cast<std::uint64_t>(static_cast<double>(budget.value) * caller.share);
    const Bytes growing = std::max(Bytes{part}, std::min(caller.least, kMostReserve));
    return fixed + std::min(growing, caller.most.value_or(kMostReserve));
  };
}

ExpectedRequests expected_requests(const model::ModelProfile& model, const ContextOptions& context) {
  ExpectedRequests out = usual_requests(model, context.sequences, kLeastContext);
  if (const auto& known = context.workload) {
    out.work.prompt_tokens = static_cast<double>(known->prompt_tokens);
    out.work.answer_tokens = static_cast<double>(known->answer_tokens);
    out.lengths_known = true;
    out.least_tokens = std::max(known->least_tokens, kLeastContext);
    out.most_tokens =
        std::max({known->most_tokens, known->prompt_tokens + known->answer_tokens, out.least_tokens});
  }
  out.chooses_cache = chooses_cache(context);
  out.client_reserve = client_reserve(context);
  return out;
}

/// Prepares the context for the turns of one conversation, as `brimful run` does.
Status prepare_conversation(engine::Engine& engine, engine::ContextOptions shape,
                            const ContextOptions& context) {
  shape_for_conversation(shape);
  if (context.workload) {
    shape.prompt_tokens = static_cast<std::uint32_t>(std::min(context.workload->prompt_tokens, kMostTokens));
    shape.least_context =
        static_cast<std::uint32_t>(std::clamp(context.workload->least_tokens, kLeastContext, kMostTokens));
  }
  const engine::SamplerWork work{.vocabulary =
                                     static_cast<std::size_t>(llama_vocab_n_tokens(engine.vocab()))};
  shape.client_reserve = [work, more = client_reserve(context)](Bytes budget) {
    return more(budget) + engine::sampler_memory(work, foreign::foreign_limits_for(budget));
  };
  return engine.prepare(shape);
}

/// Errors: kInvalidArgument for numbers that cannot be, before the model is looked for.
Status check(const ContextOptions& context) {
  if (context.sequences == 0)
    return fail(ErrorCode::kInvalidArgument, "context.sequences: 0 answers nothing: give at least 1");
  if (context.sequences > llama_max_parallel_sequences())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("context.sequences: {} are too many: at most {} are computed at once",
                            context.sequences, llama_max_parallel_sequences()));
  if (context.sharing == Sharing::kConversation && context.sequences > 1)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("context.sequences: a conversation has 1, not {}", context.sequences));
  if (context.threads == 0U)
    return fail(ErrorCode::kInvalidArgument,
                "context.threads: 0 compute nothing: give at least 1, or leave it unset");
  if (context.prompt_threads == 0U)
    return fail(ErrorCode::kInvalidArgument,
                "context.prompt_threads: 0 compute nothing: give at least 1, or leave it unset");
  if (const double share = context.caller_reserve.share; !(share >= 0 && share <= kMostShare))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("context.caller_reserve.share: {:g} is not from 0 to {:g}", share, kMostShare));
  return {};
}

}  // namespace

Result<engine::OpenOptions> session_options(const std::filesystem::path& gguf, const Budgets& budgets,
                                            const ContextOptions& context, const Notes& notes) {
  BRIMFUL_TRY_VOID(check(context));
  OpenRequest request{.model = gguf,
                      .ram = budgets.ram,
                      .vram = vram_parts(budgets.vram),
                      .threads = as_int(context.threads),
                      .threads_batch = as_int(context.prompt_threads),
                      .reader = reader_of(context.disk_reads),
                      .placement = context.placement,
                      .loras = context.loras,
                      .control_vectors = context.control_vectors,
                      .draft_model = context.drafts.model};
  BRIMFUL_TRY_VOID(shape_of(context));
  return open_options(request, {}, notes);
}

Result<std::uint32_t> prepare_session(engine::Engine& engine, const ContextOptions& context,
                                      const hardware::Profile* machine, const std::string& unmeasured,
                                      const Notes& notes) {
  BRIMFUL_TRY(const engine::ContextOptions shape, shape_of(context));
  if (context.sharing == Sharing::kConversation) {
    BRIMFUL_TRY_VOID(prepare_conversation(engine, shape, context));
    return 1;
  }
  ExpectedRequests expected = expected_requests(engine.profile(), context);
  expected.unmeasured = unmeasured;
  return prepare_shared(engine, shape, expected, machine != nullptr ? std::optional(*machine) : std::nullopt,
                        notes);
}

Result<PreparedEngine> open_and_prepare(const std::filesystem::path& gguf, const Budgets& budgets,
                                        const ContextOptions& context, const hardware::Profile* machine,
                                        const Notes& notes, tier::Trace* trace) {
  BRIMFUL_TRY(engine::OpenOptions open, session_options(gguf, budgets, context, notes));
  open.trace = trace;
  PreparedEngine out;
  BRIMFUL_TRY(out.engine, engine::Engine::open(std::move(open)));
  BRIMFUL_TRY(out.at_once, prepare_session(*out.engine, context, machine, kNoMachine, notes));
  return out;
}

}  // namespace brimful::session

#include "session/open_engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "session/cache_type.h"
#include "session/context_choice.h"
#include "session/open_options.h"

namespace brimful::session {
namespace {

constexpr std::uint64_t kLeastContext = 256;  // tokens

std::optional<int> as_int(std::optional<std::uint32_t> number) {
  if (!number) return std::nullopt;
  return static_cast<int>(std::min<std::uint32_t>(*number, INT32_MAX));
}

Result<engine::ContextOptions> shape_of(const ContextOptions& context) {
  const plan::OptionNames names;
  engine::ContextOptions out{.context = context.tokens, .ubatch = context.ubatch};
  BRIMFUL_TRY(out.type_k, cache_type(names.key_cache, context.key_cache));
  BRIMFUL_TRY(out.type_v, cache_type(names.value_cache, context.value_cache));
  if (context.flash_attention)
    out.flash_attention =
        *context.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  out.drafts = {.ngrams = context.drafts.from_text, .longest = context.drafts.most_tokens};
  BRIMFUL_TRY_VOID(check_value_cache(names.value_cache, out.type_v, context.flash_attention == false,
                                     "context.flash_attention"));
  return out;
}

}  // namespace

Result<engine::OpenOptions> session_options(const std::filesystem::path& gguf, const Budgets& budgets,
                                            const ContextOptions& context, const Notes& notes) {
  if (context.sequences == 0)
    return fail(ErrorCode::kInvalidArgument, "context.sequences: 0 answers nothing: give at least 1");
  if (context.sequences > llama_max_parallel_sequences())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("context.sequences: {} are too many: at most {} are computed at once",
                            context.sequences, llama_max_parallel_sequences()));
  if (context.threads == 0U)
    return fail(ErrorCode::kInvalidArgument,
                "context.threads: 0 compute nothing: give at least 1, or leave it unset");
  if (context.prompt_threads == 0U)
    return fail(ErrorCode::kInvalidArgument,
                "context.prompt_threads: 0 compute nothing: give at least 1, or leave it unset");
  OpenRequest request{.model = gguf,
                      .ram = budgets.ram,
                      .vram = vram_parts(budgets.vram),
                      .threads = as_int(context.threads),
                      .threads_batch = as_int(context.prompt_threads),
                      .placement = context.placement,
                      .loras = context.loras,
                      .control_vectors = context.control_vectors,
                      .draft_model = context.drafts.model};
  BRIMFUL_TRY_VOID(shape_of(context));
  return open_options(request, {}, notes);
}

Status prepare_session(engine::Engine& engine, const ContextOptions& context,
                       const hardware::Profile* machine, const std::string& unmeasured, const Notes& notes) {
  BRIMFUL_TRY(const engine::ContextOptions shape, shape_of(context));
  ExpectedRequests expected = usual_requests(engine.profile(), context.sequences, kLeastContext);
  expected.unmeasured = unmeasured;
  BRIMFUL_TRY_VOID(prepare_shared(engine, shape, expected,
                                  machine != nullptr ? std::optional(*machine) : std::nullopt, notes));
  return {};
}

Result<std::unique_ptr<engine::Engine>> open_and_prepare(const std::filesystem::path& gguf,
                                                         const Budgets& budgets,
                                                         const ContextOptions& context,
                                                         const hardware::Profile* machine,
                                                         const Notes& notes) {
  BRIMFUL_TRY(engine::OpenOptions open, session_options(gguf, budgets, context, notes));
  BRIMFUL_TRY(auto engine, engine::Engine::open(std::move(open)));
  BRIMFUL_TRY_VOID(prepare_session(*engine, context, machine, kNoMachine, notes));
  return engine;
}

}  // namespace brimful::session

#include "session/open_engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "session/context_choice.h"
#include "session/open_options.h"

namespace brimful::session {
namespace {

constexpr std::uint64_t kLeastContext = 256;  // tokens

std::vector<VramPart> parts_of(const std::vector<VramBudget>& budgets) {
  std::vector<VramPart> out;
  for (const VramBudget& budget : budgets) {
    const std::string size = format_bytes(budget.bytes);
    if (budget.device.empty()) {
      out.push_back({size, std::nullopt, budget.bytes});
    } else {
      out.push_back({fmt::format("{}={}", budget.device, size), budget.device, budget.bytes});
    }
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<engine::Engine>> open_and_prepare(const std::filesystem::path& gguf,
                                                         const Budgets& budgets,
                                                         const ContextOptions& context, const Notes& notes) {
  if (context.sequences == 0)
    return fail(ErrorCode::kInvalidArgument, "sequences: 0 answers nothing: give at least 1");
  if (context.sequences > llama_max_parallel_sequences())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("sequences: {} are too many: at most {} are computed at once", context.sequences,
                            llama_max_parallel_sequences()));
  if (context.threads == 0U)
    return fail(ErrorCode::kInvalidArgument,
                "threads: 0 compute nothing: give at least 1, or leave it unset");
  OpenRequest request{.model = gguf, .ram = budgets.ram, .vram = parts_of(budgets.vram)};
  if (context.threads)
    request.threads = static_cast<int>(std::min<std::uint32_t>(*context.threads, INT32_MAX));
  BRIMFUL_TRY(engine::OpenOptions open, open_options(request, {}, notes));
  BRIMFUL_TRY(auto engine, engine::Engine::open(std::move(open)));
  BRIMFUL_TRY_VOID(prepare_shared(*engine, {.context = context.tokens, .ubatch = context.ubatch},
                                  usual_requests(engine->profile(), context.sequences, kLeastContext),
                                  std::nullopt, notes));
  return engine;
}

}  // namespace brimful::session

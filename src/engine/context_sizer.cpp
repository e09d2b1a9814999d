#include "engine/context_sizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "memory/page_tables.h"

namespace brimful::engine {
namespace {

constexpr std::uint32_t kDefaultContext = 4096;
constexpr std::uint32_t kDefaultUbatch = 512;
constexpr std::uint32_t kLargestUbatch = 2048;
constexpr std::uint32_t kSmallestUbatch = 32;
constexpr std::uint32_t kContextStep = 256;  // libllama pads contexts to this
// Bytes that libllama's own list of the KV cache holds for each token of the context (llama_kv_cells).
constexpr Bytes kListPerToken{48};
// A list of at most this size is made even if nothing fits: the error can then name the missing bytes
// exactly.
constexpr Bytes kSmallList = kMiB;

// Bytes by which libllama's heap, the thread stacks and the kernel's own structures still grow after the
// graphs have been recorded once (measured: see docs/adr/0004).
constexpr Bytes kGrowth{512 * 1024};
// The growth also differs from run to run, by a share of the memory: the kernel charges memory ahead, and has
// lists of its own.
constexpr std::uint64_t kShareOfGrowth = 2048;
// A long ubatch may take this share of the budget.
constexpr std::uint64_t kShareOfUbatch = 8;

constexpr std::uint32_t kDefaultDraft = 15;
// A shorter draft is not worth its memory, unless the user asks for it.
constexpr std::uint64_t kLeastDraft = 3;
// Where the user does not ask for them, drafts may cost this share of the budget for logits, and the same
// share for larger compiled passes.
constexpr std::uint64_t kShareOfDrafts = 64;
// And the layers of the model that draft may take this share for their weights.
constexpr std::uint64_t kShareOfHeads = 8;

/// The part of the demand that grows with the budget.
Bytes growing(Bytes budget, const ClientReserve& reserve) {
  return (reserve ? reserve(budget) : Bytes{}) + Bytes{budget.value / kShareOfGrowth};
}

std::uint32_t default_draft(Bytes budget, std::int32_t vocabulary) {
  // The logits are held in the graph and in the sampler.
  const std::uint64_t logits = 2 * sizeof(float) * static_cast<std::uint64_t>(vocabulary);
  const std::uint64_t tokens = std::min<std::uint64_t>(kDefaultDraft, budget.value / kShareOfDrafts / logits);
  return tokens < kLeastDraft ? 0 : static_cast<std::uint32_t>(tokens);
}

}  // namespace

Bytes run_to_run() {
  constexpr Bytes kOfProcess{256 * 1024};
  constexpr Bytes kChargedAhead{256 * 1024};  // MEMCG_CHARGE_BATCH of Linux: 64 pages for each processor
  return kOfProcess + kChargedAhead * std::max(std::thread::hardware_concurrency(), 1U);
}

std::vector<ContextShape> ContextSizer::shapes_to_try(const ContextOptions& options) const {
  const std::uint32_t trained = model_.train_context > 0 ? model_.train_context : kDefaultContext;
  const std::uint32_t default_context = std::min(trained, std::max(kDefaultContext, options.least_context));
  std::uint32_t context = options.context.value_or(default_context);
  if (context == 0) context = trained;

  // A whole prompt in one ubatch is one pass over the weights; longer ubatches than the prompt buy nothing.
  std::uint32_t ubatch = options.ubatch.value_or(kDefaultUbatch);
  if (model_.only_embeds && !options.ubatch) ubatch = kLargestUbatch;  // for several whole texts
  if (!options.ubatch && options.prompt_tokens > 0) {
    ubatch = std::clamp(static_cast<std::uint32_t>(align_up(options.prompt_tokens, 64)), kSmallestUbatch,
                        kLargestUbatch);
  }
  ubatch = std::min(ubatch, options.batch.value_or(ubatch));
  if (!model_.only_embeds) ubatch = std::min(ubatch, context);

  std::vector<ContextShape> shapes{{context, ubatch, 0}};
  while (!options.ubatch && shapes.back().ubatch / 2 >= kSmallestUbatch) {
    shapes.push_back({context, shapes.back().ubatch / 2, 0});
  }
  const auto least =
      static_cast<std::uint32_t>(align_up(std::max(options.least_context, kContextStep), kContextStep));
  while (!options.context && shapes.back().context > least) {
    const auto half = static_cast<std::uint32_t>(align_up(shapes.back().context / 2, kContextStep));
    shapes.push_back({std::max(half, least), shapes.back().ubatch, 0});
  }

  return with_drafts(shapes, options.drafts);
}

std::vector<ContextShape> ContextSizer::with_drafts(const std::vector<ContextShape>& shapes,
                                                    const DraftOptions& options) const {
  const bool has_heads = model_.heads != Heads::kNone;
  const bool heads_asked_for = model_.heads == Heads::kRequired;
  if (!options.ngrams && !model_.has_draft_model && !has_heads) return shapes;
  const bool asked_for = options.longest || model_.has_draft_model || heads_asked_for;
  const std::uint32_t longest =
      options.longest.value_or(asked_for ? kDefaultDraft : default_draft(budget_, model_.vocabulary));
  std::vector<ContextShape> out;
  for (ContextShape shape : shapes) {
    shape.draft = std::min(longest, shape.ubatch - 1);  // a draft is computed in one pass
    shape.can_go_without_draft = !asked_for && shape.draft > 0;
    if (has_heads && shape.draft > 0) {
      shape.heads = true;
      shape.can_go_without_heads = !heads_asked_for;
      out.push_back(shape);
      if (heads_asked_for) continue;
      shape.heads = shape.can_go_without_heads = false;
      if (!options.ngrams && !model_.has_draft_model) shape = {shape.context, shape.ubatch};
    }
    out.push_back(shape);
    // Drafts never change a token, so they are given up first.
    if (shape.can_go_without_draft) out.push_back({shape.context, shape.ubatch});
  }
  return out;
}

Status ContextSizer::check_prompt(const ContextOptions& options, ContextShape shape) const {
  const std::uint64_t context = align_up(shape.context, kContextStep);
  if (options.prompt_tokens <= context) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("the prompt has {} tokens and the context holds {}: use {} {} or more",
                          options.prompt_tokens, context, names_.context,
                          align_up(options.prompt_tokens + 1, kContextStep)));
}

Status ContextSizer::check_list(ContextShape shape, Bytes room) const {
  if (model_.is_recurrent) return {};
  // The heads have a context, and a list, of their own.
  const Bytes list = kListPerToken * shape.context * (shape.heads ? 2U : 1U);
  if (list <= kSmallList || list <= room) return {};
  return fail(
      ErrorCode::kInfeasible,
      fmt::format("{0} does not fit {1} {2}: {3} {4} takes {5} for the list of its tokens alone; use a "
                  "smaller {3}",
                  model_.file, names_.ram, format_bytes(budget_), names_.context, shape.context,
                  format_bytes(list)));
}

Bytes ContextSizer::growth(const tier::Needs& needs, Bytes buffers, const ClientReserve& reserve) const {
  return kGrowth + needs.reader + needs.split + memory::page_tables(buffers) + growing(budget_, reserve);
}

Bytes ContextSizer::least_budget(const plan::HostDemand& demand, const ClientReserve& reserve) const {
  const Bytes same_everywhere = saturating_sub(demand.least(), growing(budget_, reserve));
  Bytes least = same_everywhere;
  for (Bytes next = same_everywhere + growing(least, reserve); next > least;
       next = same_everywhere + growing(least, reserve))
    least = next;
  return least;
}

Error ContextSizer::infeasible(const plan::HostDemand& demand, const ContextOptions& options,
                               ContextShape shape, const std::optional<std::string>& note) const {
  const Bytes least = least_budget(demand, options.client_reserve);
  const Bytes missing = saturating_sub(least, budget_);
  std::string cure =
      fmt::format("{} {}MiB would fit", names_.ram, align_up(least + run_to_run(), kMiB).value / kMiB.value);
  // Suggests a smaller value for an option that the user has set, if that would be enough.
  const auto suggest = [&](std::string_view name, std::uint32_t count, std::uint32_t step, Bytes held) {
    const double fewer = static_cast<double>((missing + run_to_run()).value) * count /
                         static_cast<double>(std::max<std::uint64_t>(held.value, 1));
    if (fewer + step > count) return;
    cure += fmt::format(", or {} {}", name, align_down(static_cast<std::uint64_t>(count - fewer), step));
  };
  // Where outputs are named, the context is a number of whole texts, and no choice of the user.
  if (options.context && !options.outputs)
    suggest(names_.context, shape.context, kContextStep, demand.kv_cache);
  if (options.ubatch) suggest(names_.ubatch, shape.ubatch, kSmallestUbatch, demand.compute);
  return Error{
      ErrorCode::kInfeasible,
      fmt::format(
          "{} does not fit {} {}: {} ({} bytes) are missing; {} [program, vocabulary, adapters {}, KV "
          "cache {}, compute {}, {}reserve {}, weights at least {}]",
          model_.file, names_.ram, format_bytes(budget_), format_bytes(missing), missing.value, cure,
          format_bytes(demand.held + demand.adapters), format_bytes(demand.kv_cache),
          format_bytes(demand.compute),
          model_.has_draft_model ? fmt::format("draft model {}, ", format_bytes(demand.draft_model)) : "",
          format_bytes(demand.growth), format_bytes(demand.least_for_weights)) +
          (note ? "; " + *note : "")};
}

bool ContextSizer::ubatch_is_dear(const ContextOptions& options, ContextShape shape,
                                  const plan::HostDemand& demand) const {
  const Bytes grows = demand.compute + (model_.only_embeds ? demand.kv_cache : Bytes{});
  return !options.ubatch && shape.ubatch > kDefaultUbatch && grows * kShareOfUbatch > budget_;
}

bool ContextSizer::heads_pay(const plan::Placement& placement, Bytes heads, bool devices) const {
  const bool waits = devices || placement.streamed_per_pass > Bytes{} || !placement.groups.empty();
  return waits && heads * kShareOfHeads <= budget_;
}

bool ContextSizer::drafts_are_dear(const tier::Needs& needs, std::size_t units) const {
  return (needs.split + needs.split_per_unit * units).value > budget_.value / kShareOfDrafts;
}

std::vector<std::string> notes_on_shape(ContextShape wanted, ContextShape chosen,
                                        const plan::OptionNames& names) {
  std::vector<std::string> out;
  if (chosen.ubatch != wanted.ubatch) {
    // Kernels follow the size of a ubatch, so this is the one adaptation that can show in the last bits.
    out.push_back(
        fmt::format("{0} {1} instead of {2}, to fit the budget (give {0} for the same bits at every budget)",
                    names.ubatch, chosen.ubatch, wanted.ubatch));
  }
  if (chosen.context != wanted.context) {
    out.push_back(
        fmt::format("{} {} instead of {}, to fit the budget", names.context, chosen.context, wanted.context));
  }
  return out;
}

}  // namespace brimful::engine

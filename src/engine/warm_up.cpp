#include "engine/warm_up.h"

#include <algorithm>
#include <span>
#include <vector>

namespace brimful::engine {
namespace {

constexpr std::size_t kCellStep = 256;  // libllama attends to a multiple of so many cells
constexpr std::size_t kSteps = 4;       // CUDA makes a graph of a decode step that it has seen several times

/// Computes passes in a context that is filled without computing: a driver takes more memory when more cells
/// are in use. Attention's buffers may be larger in a context that is filled in part than in a full one.
class WarmUp {
 public:
  WarmUp(Context& context, const OpenedModel& model, GpuTier& gpus)
      : context_(context), model_(model), gpus_(gpus), cells_(llama_n_ctx_seq(context.get())) {}

  /// Computes a pass of `count` tokens at the end of a quarter, a half and the whole of the context, and at
  /// the end of the whole one `times` such passes. Shapes that do not fit a part are left out.
  Status passes(std::size_t count, std::size_t times) {
    empty();
    for (const std::size_t part : {4, 2}) {
      if (cells_ / part < used_ + count) continue;
      if (attended(cells_ / part) == attended(cells_ / part * 2)) continue;  // the next part is the same
      BRIMFUL_TRY_VOID(fill(cells_ / part - count));
      BRIMFUL_TRY_VOID(pass(count));
    }
    times = std::min(times, cells_ / count);
    if (used_ > cells_ - count * times) empty();
    BRIMFUL_TRY_VOID(fill(cells_ - count * times));
    for (std::size_t i = 0; i < times; ++i) BRIMFUL_TRY_VOID(pass(count));
    return {};
  }

  /// Computes the devices' part of a pass of each length of a draft, at the end of the context.
  Status drafts() {
    const std::size_t longest = 1 + context_.longest_draft();
    if (longest == 1 || longest > cells_) return {};
    empty();
    BRIMFUL_TRY_VOID(fill(cells_ - longest));
    return context_.warm_up_drafts(kSteps);
  }

  void empty() {
    llama_memory_clear(llama_get_memory(context_.get()), false);
    used_ = 0;
  }

 private:
  /// The cells that attention looks at where `cells` are in use.
  static std::size_t attended(std::size_t cells) { return align_up(cells, kCellStep); }
  Status fill(std::size_t cells) {
    const auto skip = [&](bool on) {
      model_.host().skip_computing(on);
      gpus_.skip_computing(on);
    };
    skip(true);
    const Status filled = context_.decode(std::vector<llama_token>(cells - used_, 0), false);
    skip(false);
    used_ = cells;
    return filled;
  }
  Status pass(std::size_t count) {
    used_ += count;
    return context_.decode(std::vector<llama_token>(count, 0));
  }

  Context& context_;
  const OpenedModel& model_;
  GpuTier& gpus_;
  const std::size_t cells_;
  std::size_t used_ = 0;
};

}  // namespace

Status warm_up(Context& context, const OpenedModel& model, GpuTier& gpus) {
  const std::size_t largest =
      std::min<std::size_t>(llama_n_ubatch(context.get()), llama_n_ctx_seq(context.get()));
  if (model.only_embeds()) return context.decode(std::vector<llama_token>(largest, 0));
  WarmUp warm(context, model, gpus);
  BRIMFUL_TRY_VOID(warm.passes(largest, 1));
  if (gpus.has_experts()) {
    BRIMFUL_TRY_VOID(warm.passes(std::min<std::size_t>(plan::kMostTokensOfSlots, largest), 1));
    // A step in which all experts have a slot is another graph than one in which some have none.
    gpus.pretend(tier::Lack::kSomething);
    Status some = warm.passes(1, kSteps);
    gpus.pretend(tier::Lack::kNothing);
    if (some) some = warm.passes(1, kSteps);
    gpus.pretend(tier::Lack::kAsItIs);
    BRIMFUL_TRY_VOID(some);
  } else {
    BRIMFUL_TRY_VOID(warm.passes(1, kSteps));
  }
  BRIMFUL_TRY_VOID(warm.drafts());
  warm.empty();
  return {};
}

}  // namespace brimful::engine

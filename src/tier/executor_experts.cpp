#include <algorithm>

#include "tier/executor.h"

namespace strata::tier {
namespace {

void show(ggml_tensor& weight, const ExpertRows& rows) {
  weight.data = rows.data;
  weight.ne[1] = rows.rows;
  weight.ne[2] = rows.count;
  weight.nb[2] = rows.stride;
  weight.nb[3] = rows.stride * rows.count;
}

}  // namespace

Status Executor::begin_step(ggml_backend_t inner, const PassProgram& program, std::size_t number) {
  const ExpertStep& step = program.steps()[number];
  STRATA_TRY_VOID(experts_->begin(step.group, *step.ids, step.parts));
  step.numbered->data = experts_->ids();
  predict(program, number);
  const auto begin = std::chrono::steady_clock::now();
  STRATA_TRY_VOID(experts_->finish());
  expert_stalls_ += std::chrono::steady_clock::now() - begin;
  return repack(inner, experts_->fresh());
}

/// Starts to read what the next step will probably choose.
void Executor::predict(const PassProgram& program, std::size_t number) {
  // More tokens than a few choose nearly every expert: then there is nothing to guess.
  constexpr std::int64_t kMostTokens = 4;
  // Where it does not pay, a look now and then tells whether it would.
  constexpr std::uint64_t kLook = 16;

  if (number > 0) predictor_.observe(program.steps()[number].group, experts_->used());
  if (number + 1 == program.steps().size()) return;
  const ExpertStep& step = program.steps()[number];
  const ExpertStep& next = program.steps()[number + 1];
  const bool pays = predictor_.pays();
  if (!pays && ++steps_ % kLook != 0) return;
  if (step.input == nullptr || !next.router || step.ids->ne[1] > kMostTokens) return;
  const model::TensorInfo& router = table_.profile().tensors[*next.router];
  const auto* const weights = reinterpret_cast<const float*>(table_.resident(*next.router));
  if (weights == nullptr || router.type != GGML_TYPE_F32 || step.input->ne[0] != router.shape[0] ||
      !ggml_is_contiguous(step.input)) {
    return;
  }
  const std::span states(static_cast<const float*>(step.input->data),
                         static_cast<std::size_t>(ggml_nelements(step.input)));
  const auto experts = static_cast<std::uint32_t>(router.shape[1]);
  const auto predicted =
      predictor_.predict(std::span(weights, static_cast<std::size_t>(router.shape[0] * router.shape[1])),
                         states, experts, static_cast<std::uint32_t>(next.ids->ne[0]));
  const auto missing = experts_->missing(next.group, predicted);
  predictor_.expect(next.group, missing);
  if (pays) experts_->prefetch(next.group, predicted);
}

Status Executor::repack(ggml_backend_t inner, std::span<const FreshRows> fresh) {
  for (const FreshRows& rows : fresh) {
    if (!table_.repacked(rows.tensor)) continue;
    const RepackedLayout::Rows plain{&table_.profile().tensors[rows.tensor], rows.rows, rows.data};
    STRATA_TRY_VOID(layout_.repack(inner, std::span(&plain, 1)));
  }
  return {};
}

Status Executor::execute_in_slots(ggml_backend_t inner, const ggml_cgraph& graph, const Run& run) {
  for (const ExpertNode& expert : run.experts) show(*expert.weight, experts_->rows(expert.part));
  return execute(inner, graph, run.nodes);
}

Status Executor::execute_in_strips(ggml_backend_t inner, const ggml_cgraph& graph, const Run& run) {
  const std::span nodes(run.nodes);
  std::vector<FreshRows> fresh;
  std::size_t done = 0;
  for (const ExpertNode& expert : run.experts) {
    STRATA_TRY_VOID(execute(inner, graph, nodes.subspan(done, expert.node - done)));
    const ggml_tensor* const node = nodes[expert.node];
    do {
      fresh.clear();
      STRATA_TRY(const ExpertRows rows, experts_->strips().next(fresh));
      STRATA_TRY_VOID(repack(inner, fresh));
      show(*expert.weight, rows);
      ggml_tensor part = *node;
      part.ne[0] = rows.rows;  // the strides stay: a stretch of each row of the result
      part.data = static_cast<char*>(node->data) + static_cast<std::size_t>(rows.first_row) * part.nb[0];
      ggml_tensor* const only[] = {&part};
      STRATA_TRY_VOID(execute(inner, graph, only));
    } while (!experts_->strips().part_ends());
    done = expert.node + 1;
  }
  return execute(inner, graph, nodes.subspan(done));
}

}  // namespace strata::tier

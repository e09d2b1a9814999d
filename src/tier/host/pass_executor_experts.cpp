#include <fmt/format.h>

#include <algorithm>

#include "tier/host/arriving_experts.h"
#include "tier/host/expert_guesses.h"
#include "tier/host/pass_executor.h"

namespace brimful::tier {
namespace {

/// Makes a shadow of a weight show a row tile.
void show(ggml_tensor& weight, const ExpertRows& rows) {
  weight.data = rows.data;
  weight.ne[1] = rows.rows;
  weight.ne[2] = rows.count;
  weight.nb[2] = rows.stride;
  weight.nb[3] = rows.stride * rows.count;
}

}  // namespace

Status PassExecutor::begin_step(const CompiledPass& program, std::size_t number, bool again) {
  const ExpertStep& step = program.steps()[number];
  const auto begin = Trace::Clock::now();
  guesses_->before_step(step);
  BRIMFUL_TRY_VOID(experts_->begin(step.group, *step.ids, step.parts, again));
  step.numbered->data = experts_->ids();
  guesses_->after_begin(program, number);
  if (trace_ != nullptr) {
    const plan::ExpertGroup& group = table_.placement().groups[step.group];
    const std::string_view name = table_.profile().tensors[group.parts.front().tensor].name;
    trace_->span(Trace::kExperts, name, begin, 0, experts_->used());
  }
  return {};
}

/// Waits until all experts of the step may be used.
Status PassExecutor::wait_for_step(ggml_backend_t inner) {
  const auto begin = Trace::Clock::now();
  BRIMFUL_TRY_VOID(experts_->finish());
  expert_stalls_ += Trace::Clock::now() - begin;
  if (trace_ != nullptr) trace_->span(Trace::kWaits, "wait for experts", begin);
  BRIMFUL_TRY_VOID(repack(inner, experts_->fresh()));
  experts_->settle();
  return {};
}

Status PassExecutor::multiply(ggml_backend_t inner, const ggml_cgraph& graph, bool again) {
  return checked(run(inner, graph, nullptr, again));
}

Status PassExecutor::bring(ggml_backend_t inner, std::span<const std::uint32_t> tensors,
                           std::span<const std::uint32_t> experts, const ExpertCache::TakeBytes& take) {
  if (const auto part = table_.expert_part(tensors.front())) {
    const auto rearrange = [&](std::span<const FreshRows> fresh) { return repack(inner, fresh); };
    return checked(experts_->bring(part->group, experts, rearrange, take));
  }
  for (const std::uint32_t tensor : tensors) {
    const model::TensorInfo& info = table_.profile().tensors[tensor];
    const std::uint64_t size = plan::expert_bytes(info).value;
    const std::byte* const all = table_.resident(tensor);
    if (all == nullptr)
      return fail(ErrorCode::kInternal, fmt::format("the experts of '{}' have no place", info.name));
    for (const std::uint32_t expert : experts)
      BRIMFUL_TRY_VOID(take({tensor, expert, 0, {all + expert * size, size}, true}));
  }
  return {};
}

Status PassExecutor::repack(ggml_backend_t inner, std::span<const FreshRows> fresh) {
  if (std::ranges::none_of(fresh, [&](const FreshRows& rows) { return table_.repacked(rows.tensor); }))
    return {};
  const auto begin = Trace::Clock::now();
  threads_.again(inner);
  const Status status = layout_.repack(inner, table_, fresh);
  if (trace_ != nullptr) trace_->span(Trace::kSegments, "repack experts", begin);
  return status;
}

Status PassExecutor::execute_in_slots(ggml_backend_t inner, const ggml_cgraph& graph,
                                      const Segment& segment) {
  for (const ExpertNode& expert : segment.experts) show(*expert.weight, experts_->rows(expert.part));
  if (!experts_->complete() && !arriving_->can_cut(segment)) BRIMFUL_TRY_VOID(wait_for_step(inner));
  if (experts_->complete()) {
    guesses_->read();
    return execute(inner, graph, segment.nodes);
  }
  const auto wait = [&]() -> Status {
    const auto begin = Trace::Clock::now();
    BRIMFUL_TRY_VOID(experts_->wait_for_one());
    expert_stalls_ += Trace::Clock::now() - begin;
    if (trace_ != nullptr) trace_->span(Trace::kWaits, "wait for an expert", begin);
    return {};
  };
  const auto compute = [&](std::span<ggml_tensor* const> nodes) { return execute(inner, graph, nodes); };
  const auto all_arrived = [&] { guesses_->read(); };
  return arriving_->compute(segment, {compute, wait, all_arrived});
}

Status PassExecutor::execute_in_tiles(ggml_backend_t inner, const ggml_cgraph& graph,
                                      const Segment& segment) {
  const std::span nodes(segment.nodes);
  std::vector<FreshRows> fresh;
  std::size_t done = 0;
  for (const ExpertNode& expert : segment.experts) {
    BRIMFUL_TRY_VOID(execute(inner, graph, nodes.subspan(done, expert.node - done)));
    const ggml_tensor* const node = nodes[expert.node];
    do {
      fresh.clear();
      BRIMFUL_TRY(const ExpertRows rows, experts_->tiles().next(fresh));
      BRIMFUL_TRY_VOID(repack(inner, fresh));
      show(*expert.weight, rows);
      ggml_tensor part = *node;
      part.ne[0] = rows.rows;  // the strides stay: the part is a stretch of each row of the result
      part.data = static_cast<char*>(node->data) + static_cast<std::size_t>(rows.first_row) * part.nb[0];
      ggml_tensor* const only[] = {&part};
      BRIMFUL_TRY_VOID(execute(inner, graph, only));
    } while (!experts_->tiles().part_ends());
    done = expert.node + 1;
  }
  return execute(inner, graph, nodes.subspan(done));
}

}  // namespace brimful::tier

#include "session/forecast.h"

namespace brimful::session {
namespace {

PassForecast shown_pass(const plan::PassCost& cost) {
  using Seconds = PassForecast::Seconds;
  return {.total = Seconds(cost.seconds),
          .compute = Seconds(cost.compute_seconds),
          .disk = Seconds(cost.disk_seconds),
          .experts = Seconds(cost.expert_seconds),
          .gpu = Seconds(cost.device_seconds),
          .link = Seconds(cost.link_seconds),
          .read = cost.reads,
          .bound_by = cost.bound_by()};
}

}  // namespace

Forecast shown_forecast(const plan::Forecast& forecast, const plan::Workload& workload) {
  using Seconds = PassForecast::Seconds;
  return {.requests = static_cast<std::uint32_t>(workload.sequences),
          .prompt_tokens = static_cast<std::uint32_t>(workload.prompt_tokens),
          .answer_tokens_per_second = forecast.decode_tokens_per_second,
          .prompt_tokens_per_second = forecast.prompt_tokens_per_second,
          .first_token = Seconds(forecast.first_token_seconds),
          .load = Seconds(forecast.load_seconds),
          .pass = shown_pass(forecast.decode),
          .prompt = shown_pass(forecast.prompt)};
}

std::vector<PlanChange> shown_changes(const std::vector<plan::Change>& changes) {
  std::vector<PlanChange> out;
  out.reserve(changes.size());
  for (const plan::Change& change : changes)
    out.push_back({change.what, change.note, change.decode_tokens_per_second, change.factor, change.weights});
  return out;
}

}  // namespace brimful::session

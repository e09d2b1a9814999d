#include <fmt/format.h>

#include "cli/plan_output.h"
#include "session/account.h"
#include "session/status_json.h"

namespace brimful::cli {

namespace {

nlohmann::ordered_json seconds_json(const plan::PassCost& cost) {
  return {{"total", cost.seconds},          {"compute", cost.compute_seconds}, {"disk", cost.disk_seconds},
          {"experts", cost.expert_seconds}, {"gpu", cost.device_seconds},      {"link", cost.link_seconds}};
}

}  // namespace

nlohmann::ordered_json plan_json(const PlanReport& report, const PlanOptions& options) {
  using Json = nlohmann::ordered_json;
  const plan::Plan& p = report.plan;
  const plan::Forecast& f = p.forecast;
  const plan::MemoryMap map = p.host.memory_map(report.inputs.profile);
  Json json;
  json["version"] = 1;
  json["fits"] = true;
  json["model"] = report.model;
  json["weights_bytes"] = map.total_weights.value;
  json["machine"] = {{"name", report.inputs.machine.name}, {"measured", report.inputs.machine.measured}};
  json["budget_bytes"]["host"] = map.budget.value;
  json["peak_bytes"]["host"] = {{"total", map.peak().value}};
  json["peak_bytes"]["host"].update(session::tags_json(session::account_of(map)));
  if (!map.streams()) json["peak_bytes"]["host"].erase("unused");
  for (const plan::DeviceShare& device : p.devices.devices) {
    json["budget_bytes"][device.name] = device.budget.value;
    Json& peak = json["peak_bytes"][device.name] = {{"total", device.peak().value}};
    peak.update(session::tags_json(session::account_of(device)));
    peak.erase("unused");
  }
  json["resident_weights_bytes"] = map.resident_weight_bytes.value;
  json["streamed_bytes_per_pass"] = map.streamed_per_pass.value;
  json["read_bytes_per_pass"] = f.decode.reads.value;
  json["rows_sent_bytes_per_pass"] = f.decode.rows_sent.value;
  json["decode_tokens_per_second"] = f.decode_tokens_per_second;
  json["drafts"] = Json::array();
  for (const plan::DraftedPass& pass : f.drafted)
    json["drafts"].push_back({{"accepted", pass.accepted}, {"tokens_per_second", pass.tokens_per_second}});
  json["prompt_tokens_per_second"] = f.prompt_tokens_per_second;
  json["first_token_seconds"] = f.first_token_seconds;
  json["load_seconds"] = f.load_seconds;
  json["bound_by"] = {{"decode", to_string(f.decode.bound_by())}, {"prompt", to_string(f.prompt.bound_by())}};
  json["seconds_per_pass"] = seconds_json(f.decode);
  json["seconds_per_prompt"] = seconds_json(f.prompt);
  json["workload"] = {{"sequences", report.inputs.workload.sequences},
                      {"prompt_tokens", report.inputs.workload.prompt_tokens}};
  // The values that `brimful run --plan` needs to do exactly this.
  json["run"] = {{"model_header", report.model_header},
                 {"ram_bytes", map.budget.value},
                 {"weights_budget_bytes", p.host.demand.for_weights(p.host.budget).value},
                 {"context", p.host.context},
                 {"ubatch", p.host.ubatch},
                 {"longest_draft", p.host.draft},
                 {"threads", report.threads},
                 {"cache_type_k", options.run.type_k},
                 {"cache_type_v", options.run.type_v},
                 {"flash_attention", options.run.flash_attention}};
  if (!report.model_file.empty()) json["run"]["model"] = report.model_file;
  json["notes"] = report.notes;
  json["diagnostics"] = report.diagnostics;
  json["changes"] = Json::array();
  for (const plan::Change& change : report.changes) {
    Json one = {{"what", change.what},
                {"note", change.note},
                {"decode_tokens_per_second", change.decode_tokens_per_second},
                {"factor", change.factor}};
    if (change.weights.value > 0) one["weights_bytes"] = change.weights.value;
    json["changes"].push_back(std::move(one));
  }
  return json;
}

}  // namespace brimful::cli

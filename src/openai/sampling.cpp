#include "openai/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "chat/chat_format.h"
#include "engine/sampling_options.h"
#include "engine/tokenize.h"
#include "openai/fields.h"

namespace brimful::openai {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kLongestBias = 1024;  // bytes of a text in `logit_bias`

/// Reads one option of the table from the field `name`. Errors: kInvalidArgument.
Status read_option(const Fields& fields, const engine::SamplingOption& option, const char* name,
                   common_params_sampling& out) {
  const double most = option.most_in_requests.value_or(option.most);
  if (const auto* const real = std::get_if<float common_params_sampling::*>(&option.value)) {
    BRIMFUL_TRY(const auto value, fields.number(name, option.least, most));
    if (value) out.*(*real) = static_cast<float>(*value);
    return {};
  }
  BRIMFUL_TRY(const auto value,
              fields.integer(name, static_cast<std::int64_t>(option.least), static_cast<std::int64_t>(most)));
  if (value)
    out.*std::get<std::int32_t common_params_sampling::*>(option.value) = static_cast<std::int32_t>(*value);
  return {};
}

/// The tokens that a key of `logit_bias` stands for: an id, or a text. Empty when the id is not in the
/// vocabulary.
Result<std::vector<llama_token>> biased_tokens(const json& key, const llama_vocab* vocab) {
  const auto size = static_cast<std::uint64_t>(llama_vocab_n_tokens(vocab));
  const auto as_token = [&](std::uint64_t id) -> std::vector<llama_token> {
    if (id >= size) return {};
    return {static_cast<llama_token>(id)};
  };
  if (key.is_number_unsigned()) return as_token(key.get<std::uint64_t>());
  if (!key.is_string()) return std::vector<llama_token>{};
  const std::string text = key.get<std::string>();
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error == std::errc{} && end == text.data() + text.size()) return as_token(id);
  if (text.empty() || text.front() == '-' || text.size() > kLongestBias) return std::vector<llama_token>{};
  return engine::tokenize(vocab, text, false, false);
}

/// Reads `logit_bias`: an object, or an array of pairs. The value `false` forbids a token.
Status read_biases(const Fields& fields, const llama_vocab* vocab, common_params_sampling& out) {
  const json* const given = fields.find("logit_bias");
  if (given == nullptr) return {};
  const auto refused = [&] { return fields.refuse("logit_bias", "must map token ids to numbers"); };
  const auto add = [&](const json& key, const json& bias) -> Status {
    const bool forbids = bias.is_boolean() && !bias.get<bool>();
    if (!bias.is_number() && !forbids) return refused();
    auto tokens = biased_tokens(key, vocab);
    if (!tokens || tokens->empty()) return refused();
    for (const llama_token token : *tokens)
      out.logit_bias.push_back({token, forbids ? -INFINITY : bias.get<float>()});
    return {};
  };
  if (given->is_object()) {
    for (const auto& [key, bias] : given->items()) BRIMFUL_TRY_VOID(add(key, bias));
    return {};
  }
  if (!given->is_array()) return refused();
  for (const json& pair : *given) {
    if (!pair.is_array() || pair.size() != 2) return refused();
    BRIMFUL_TRY_VOID(add(pair[0], pair[1]));
  }
  return {};
}

Status read_samplers(const Fields& fields, common_params_sampling& out) {
  const json* const given = fields.find("samplers");
  if (given == nullptr) return {};
  BRIMFUL_TRY(const auto names, fields.texts("samplers"));
  auto samplers = given->is_string() ? engine::samplers_of_letters(names.at(0)) : engine::samplers_of(names);
  if (!samplers) return fields.refuse("samplers", samplers.error().message);
  out.samplers = std::move(*samplers);
  return {};
}

// Fields that are read here, or that do not change the text, besides those of engine::sampling_options().
constexpr auto kOfAll = std::to_array<std::string_view>(
    {"model", "seed", "logit_bias", "samplers", "dry_sequence_breakers", "ignore_eos", "n", "stop", "stream",
     "stream_options", "max_tokens", "n_predict", "response_format", "json_schema", "grammar",
     // These say who asks, and what is done with the answer.
     "user", "metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention",
     "safety_identifier", "cache_prompt", "id_slot", "n_cache_reuse", "timings_per_token", "return_progress",
     "return_tokens", "verbose", "response_fields", "sse_ping_interval", "backend_sampling", "priority",
     "request_id"});
constexpr auto kOfChats = std::to_array<std::string_view>(
    {"messages", "tools", "tool_choice", "parallel_tool_calls", "max_completion_tokens", "logprobs",
     "top_logprobs", "chat_template_kwargs", "reasoning_effort", "reasoning_format",
     "reasoning_budget_tokens", "thinking_budget_tokens", "continue_final_message", "add_generation_prompt",
     "verbosity"});
constexpr auto kOfCompletions =
    std::to_array<std::string_view>({"prompt", "logprobs", "suffix", "echo", "best_of"});

bool is_known(Endpoint endpoint, std::string_view field) {
  const auto has = [&](const auto& names) { return std::ranges::find(names, field) != names.end(); };
  return has(kOfAll) || (endpoint == Endpoint::kChat ? has(kOfChats) : has(kOfCompletions)) ||
         std::ranges::any_of(engine::sampling_options(), [&](const engine::SamplingOption& option) {
           return field == option.field || (option.other_field != nullptr && field == option.other_field);
         });
}

}  // namespace

Status read_sampling(const json& body, const llama_vocab* vocab, common_params_sampling& out) {
  const Fields fields(body);
  for (const engine::SamplingOption& option : engine::sampling_options()) {
    if (option.other_field != nullptr) BRIMFUL_TRY_VOID(read_option(fields, option, option.other_field, out));
    BRIMFUL_TRY_VOID(read_option(fields, option, option.field, out));
  }
  BRIMFUL_TRY(const auto seed, fields.integer("seed", INT64_MIN, INT64_MAX));
  if (seed) out.seed = static_cast<std::uint32_t>(*seed);
  BRIMFUL_TRY(const auto ignore_eos, fields.boolean("ignore_eos"));
  out.ignore_eos = ignore_eos.value_or(out.ignore_eos);
  BRIMFUL_TRY_VOID(read_biases(fields, vocab, out));
  BRIMFUL_TRY_VOID(read_samplers(fields, out));
  if (fields.find("dry_sequence_breakers") != nullptr) {
    BRIMFUL_TRY(out.dry_sequence_breakers, fields.texts("dry_sequence_breakers"));
    if (out.dry_sequence_breakers.empty())
      return fields.refuse("dry_sequence_breakers", "must have at least one element");
  }
  return {};
}

std::vector<std::string> unknown_fields(Endpoint endpoint, const json& body) {
  std::vector<std::string> out;
  for (const auto& [name, value] : body.items()) {
    if (!value.is_null() && !is_known(endpoint, name) && name.size() <= 64)
      out.push_back(fmt::format("{}: is not supported and has no effect", name));
  }
  return out;
}

}  // namespace brimful::openai

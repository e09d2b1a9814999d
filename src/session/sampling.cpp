#include "session/sampling.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <variant>

#include "base/json_text.h"
#include "constraint/answer_grammar.h"
#include "constraint/answer_schema.h"
#include "engine/sampling_options.h"

namespace brimful::session {

Result<nlohmann::ordered_json> readable_schema(const std::string& text, const std::string& name,
                                               const Notes& notes, bool strict) {
  const auto given = parse_ordered_json(text, kDeepestSchema);
  if (!given) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", name, given.error().message));
  BRIMFUL_TRY_VOID(constraint::check_schema_bounds(*given, name));
  constraint::AnswerSchema schema = constraint::schema_for_grammar(*given);
  if (strict && !schema.not_enforced.empty())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the schema is strict, but this part cannot be enforced: {}", name,
                            fmt::join(schema.not_enforced, ", ")));
  for (const std::string& what : schema.not_enforced)
    notes(fmt::format("{}: this is not enforced: {}", name, what));
  return std::move(schema.schema);
}

Result<FollowedSchema> followed_schema(const std::string& text, const std::string& name, const Notes& notes,
                                       bool strict) {
  FollowedSchema out;
  BRIMFUL_TRY(out.schema, readable_schema(text, name, notes, strict));
  BRIMFUL_TRY(out.grammar, constraint::grammar_of_schema(out.schema.dump(), name));
  return out;
}

Result<AnswerRules> answer_rules(const SamplingOptions& options, const Notes& notes) {
  AnswerRules out;
  if (!options.grammar.empty() && !options.json_schema.empty())
    return fail(ErrorCode::kInvalidArgument, "grammar: cannot be used beside json_schema");
  if (!options.grammar.empty()) {
    BRIMFUL_TRY(out.grammar, constraint::grammar_of_gbnf(options.grammar, "grammar"));
  }
  if (!options.json_schema.empty()) {
    BRIMFUL_TRY(FollowedSchema followed,
                followed_schema(options.json_schema, "json_schema", notes, options.strict_schema));
    out.grammar = std::move(followed.grammar);
    out.schema = std::move(followed.schema);
  }
  return out;
}

Result<common_params_sampling> sampling_params(const SamplingOptions& options, std::int32_t vocabulary) {
  common_params_sampling out;
  const auto known = engine::sampling_options();
  for (const auto& [name, value] : options.numbers) {
    const auto option = std::ranges::find_if(known, [&](const engine::SamplingOption& one) {
      return name == one.field || (one.other_field != nullptr && name == one.other_field);
    });
    if (option == known.end())
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: there is no sampling option of this name", name));
    if (!(value >= option->least && value <= option->most))  // not a number is in no range
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {:g} is not from {:.12g} to {:.12g}", name,
                                                           value, option->least, option->most));
    if (std::holds_alternative<std::int32_t common_params_sampling::*>(option->value) &&
        value != std::floor(value))
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {:g} is not a whole number", name, value));
    std::visit(
        [&](auto member) {
          out.*member = static_cast<std::remove_reference_t<decltype(out.*member)>>(value);
        },
        option->value);
  }
  for (const auto& [token, bias] : options.token_biases) {
    if (token < 0 || token >= vocabulary || std::isnan(bias))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("token_biases: {}: {:g}: give ids from 0 to {}, and numbers", token, bias,
                              vocabulary - 1));
    out.logit_bias.push_back({token, bias});
  }
  if (!options.samplers.empty()) {
    auto samplers = engine::samplers_of(options.samplers);
    if (!samplers)
      return fail(ErrorCode::kInvalidArgument, fmt::format("samplers: {}", samplers.error().message));
    out.samplers = std::move(*samplers);
  }
  if (!options.dry_sequence_breakers.empty()) out.dry_sequence_breakers = options.dry_sequence_breakers;
  out.ignore_eos = options.ignore_end_of_text;
  // The largest number means "a random one" to llama.cpp, but here every seed is one.
  if (options.seed) out.seed = *options.seed == LLAMA_DEFAULT_SEED ? 0 : *options.seed;
  return out;
}

}  // namespace brimful::session

namespace brimful {

std::vector<SamplingOption> sampling_options() {
  const common_params_sampling usual;
  std::vector<SamplingOption> out;
  for (const engine::SamplingOption& option : engine::sampling_options()) {
    const double value =
        std::visit([&](auto member) { return static_cast<double>(usual.*member); }, option.value);
    out.push_back({option.field, option.help, option.least, option.most, value});
  }
  return out;
}

}  // namespace brimful

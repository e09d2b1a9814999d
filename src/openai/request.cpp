#include "openai/request.h"

#include <fmt/format.h>

#include <fmt/ranges.h>

#include <algorithm>

#include "constraint/answer_grammar.h"
#include "constraint/answer_schema.h"
#include "engine/sampler.h"
#include "engine/tokenize.h"
#include "openai/fields.h"
#include "openai/messages.h"

namespace brimful::openai {
namespace {

using json = nlohmann::ordered_json;

constexpr std::int64_t kMostTokens = INT32_MAX;
// The largest size of a grammar or a schema, in bytes: each waiting request holds its own.
constexpr std::size_t kLongestGrammar = 256 << 10;
// The largest number of answers to all prompts of a request. OpenAI has this limit for one prompt.
constexpr std::int64_t kMostAnswers = 128;
constexpr std::int64_t kMostLogprobs = 20;  // OpenAI's limit
constexpr std::size_t kMostInputs = 2048;   // OpenAI's limit for embeddings
// The largest number of floats in all vectors of one answer, which are held until the answer is sent.
constexpr std::size_t kMostFloats = 1U << 18;
constexpr std::size_t kMostTokensOfInputs = 300'000;  // OpenAI's limit
constexpr int kCompletionLimit = 16;                  // OpenAI's limit for a completion that sets none

/// The value of the first of these fields that the body has. -1 means no limit, as in llama-server.
Result<std::optional<int>> limit_of(const Fields& fields, std::initializer_list<const char*> names) {
  std::optional<int> out;
  for (const char* const name : names) {
    BRIMFUL_TRY(const auto given, fields.integer(name, -1, kMostTokens));
    if (given == 0) return fields.refuse(name, "must be 1 or more, or -1 for no limit");
    if (given && !out) out = static_cast<int>(*given);
  }
  return out;
}

/// A JSON schema of a request.
struct NamedSchema {
  json schema;
  bool strict = false;  // parts that cannot be enforced are an error
};

/// The schema of `response_format`, or of llama.cpp's own field `json_schema`; nothing when any text is
/// allowed.
Result<std::optional<NamedSchema>> schema_of(const json& body) {
  const Fields fields(body);
  const json any = {{"type", "object"}};
  if (const json* const schema = fields.find("json_schema"))
    return NamedSchema{schema->empty() ? any : *schema};
  const json* const format = fields.find("response_format");
  if (format == nullptr) return std::nullopt;
  if (!format->is_object()) return fields.refuse("response_format", "must be an object");
  const Fields inner(*format, "response_format.");
  BRIMFUL_TRY(const auto type, inner.text("type"));
  if (!type || *type == "text") return std::nullopt;
  if (*type == "json_object") {
    const json* const schema = inner.find("schema");
    return NamedSchema{schema == nullptr || schema->empty() ? any : *schema};
  }
  if (*type != "json_schema") return inner.refuse("type", "must be text, json_object or json_schema");
  const json* const named = inner.find("json_schema");
  if (named == nullptr || !named->is_object() || !named->contains("schema"))
    return inner.refuse("json_schema", "must be an object with a schema");
  BRIMFUL_TRY(const auto strict, Fields(*named, "response_format.json_schema.").boolean("strict"));
  const json& schema = named->at("schema");
  return NamedSchema{schema.is_object() && schema.empty() ? any : schema, strict.value_or(false)};
}

/// The rules for an answer: a schema with its grammar, or a grammar alone, or neither. llama.cpp has read
/// them already, so that they can be used.
struct Rules {
  std::optional<json> schema;
  common_grammar grammar;
};

/// Rewrites a schema so that llama.cpp can follow it. Parts that cannot be enforced become warnings; in a
/// strict schema, they are an error.
Result<json> followed_schema(const json& schema, bool strict, const char* field,
                             std::vector<std::string>& warnings) {
  BRIMFUL_TRY_VOID(constraint::check_schema_bounds(schema, field));
  constraint::AnswerSchema out = constraint::schema_for_grammar(schema);
  if (strict && !out.not_enforced.empty())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: its schema is strict, but this part cannot be enforced: {}", field,
                            fmt::join(out.not_enforced, ", ")));
  for (const std::string& what : out.not_enforced)
    warnings.push_back(fmt::format("{}: this part of the schema is not enforced: {}", field, what));
  return std::move(out.schema);
}

Status ready_tool(json& function, std::vector<std::string>& warnings) {
  const Fields fields(function, fmt::format("tools.{}.", function["name"].get<std::string>()));
  BRIMFUL_TRY(const auto strict, fields.boolean("strict"));
  if (fields.find("parameters") == nullptr) return {};
  BRIMFUL_TRY(function["parameters"],
              followed_schema(function["parameters"], strict.value_or(false), "tools", warnings));
  return {};
}

Result<Rules> rules_of(const json& body, std::vector<std::string>& warnings) {
  const Fields fields(body);
  Rules out;
  BRIMFUL_TRY(const auto named, schema_of(body));
  BRIMFUL_TRY(const auto gbnf, fields.text("grammar"));
  if (gbnf && gbnf->size() > kLongestGrammar)
    return fields.refuse("grammar", fmt::format("has more than {} KiB", kLongestGrammar >> 10));
  if (named && gbnf) return fields.refuse("grammar", "cannot be used together with a JSON schema");
  if (gbnf && !gbnf->empty()) {
    BRIMFUL_TRY(out.grammar, constraint::grammar_of_gbnf(*gbnf, "grammar"));
  }
  if (!named) return out;
  const char* const field = fields.find("json_schema") != nullptr ? "json_schema" : "response_format";
  BRIMFUL_TRY(json schema, followed_schema(named->schema, named->strict, field, warnings));
  const std::string text = schema.dump();
  if (text.size() > kLongestGrammar)
    return fields.refuse(field, fmt::format("its schema has more than {} KiB", kLongestGrammar >> 10));
  BRIMFUL_TRY(out.grammar, constraint::grammar_of_schema(text, field));
  out.schema = std::move(schema);
  return out;
}

/// Whether `value` is an array of at least one token id, all of them in the vocabulary.
bool are_token_ids(const json& value, const llama_vocab* vocab) {
  const auto count = static_cast<std::uint64_t>(llama_vocab_n_tokens(vocab));
  return value.is_array() && !value.empty() && std::ranges::all_of(value, [&](const json& id) {
           return id.is_number_unsigned() && id.get<std::uint64_t>() < count;
         });
}

/// Whether `value` is an array of texts and numbers, which together are one prompt.
bool is_mixed(const json& value) {
  const auto has = [&](auto is) { return std::ranges::any_of(value, is); };
  return value.is_array() && has([](const json& part) { return part.is_string(); }) &&
         has([](const json& part) { return part.is_number(); });
}

}  // namespace

std::optional<Endpoint> endpoint_of(std::string_view url) {
  if (url == "/v1/chat/completions") return Endpoint::kChat;
  if (url == "/v1/completions") return Endpoint::kCompletion;
  if (url == "/v1/embeddings") return Endpoint::kEmbeddings;
  return std::nullopt;
}

std::string_view object_name(Endpoint endpoint) {
  switch (endpoint) {
    case Endpoint::kChat: return "chat.completion";
    case Endpoint::kCompletion: return "text_completion";
    case Endpoint::kEmbeddings: return "list";
  }
  return "";
}

std::vector<schedule::Request> ApiRequest::parts() const {
  std::vector<schedule::Request> out;
  if (endpoint == Endpoint::kEmbeddings) {
    for (const auto& input : embeddings.inputs) out.push_back({.prompt = input, .embed = true});
    return out;
  }
  for (std::size_t prompt = 0; prompt <= more_prompts.size(); ++prompt) {
    for (std::uint32_t answer = 0; answer < answers; ++answer) {
      schedule::Request& part = out.emplace_back(request);
      if (prompt > 0) part.prompt = more_prompts[prompt - 1];
      // The same seed would give the same answer again.
      if (part.sampling.seed != LLAMA_DEFAULT_SEED) part.sampling.seed += answer;
    }
  }
  return out;
}

std::size_t ApiRequest::part_count() const {
  if (endpoint == Endpoint::kEmbeddings) return embeddings.inputs.size();
  return (1 + more_prompts.size()) * answers;
}

std::size_t ApiRequest::prompt_tokens() const {
  std::size_t sum = request.prompt.size();
  for (const auto& prompt : more_prompts) sum += prompt.size();
  for (const auto& input : embeddings.inputs) sum += input.size();
  return sum;
}

std::size_t ApiRequest::longest_prompt() const {
  std::size_t longest = request.prompt.size();
  for (const auto& prompt : more_prompts) longest = std::max(longest, prompt.size());
  for (const auto& input : embeddings.inputs) longest = std::max(longest, input.size());
  return longest;
}

Result<ApiReader> ApiReader::create(const engine::Engine& engine, const std::string& chat_template) {
  BRIMFUL_TRY(auto format, chat::ChatFormat::create(engine, chat_template));
  return ApiReader(engine, std::move(format));
}

Result<ApiRequest> ApiReader::read(Endpoint endpoint, const json& body) const {
  if (!body.is_object()) return fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
  ApiRequest out{.endpoint = endpoint};
  if (endpoint == Endpoint::kEmbeddings) {
    BRIMFUL_TRY_VOID(read_embeddings(body, out));
    return out;
  }
  if (engine_.only_embeds())
    return fail(ErrorCode::kInvalidArgument, "this model writes no text: use /v1/embeddings");
  BRIMFUL_TRY_VOID(read_sampling(body, engine_.vocab(), out.request.sampling));
  const common_params_sampling& sampling = out.request.sampling;
  out.request.repeatable = sampling.temp <= 0 || sampling.seed != LLAMA_DEFAULT_SEED;
  BRIMFUL_TRY_VOID(read_delivery(body, out));
  out.warnings = unknown_fields(endpoint, body);
  BRIMFUL_TRY_VOID(endpoint == Endpoint::kChat ? read_chat(body, out) : read_completion(body, out));
  return out;
}

Result<std::vector<llama_token>> ApiReader::tokenize(const json& body) const {
  const Fields fields(body);
  BRIMFUL_TRY(const auto content, fields.text("content"));
  if (!content) return fields.refuse("content", "is missing");
  BRIMFUL_TRY(const auto special, fields.boolean("add_special"));
  BRIMFUL_TRY(const auto parse, fields.boolean("parse_special"));
  return tokenize(*content, "content", special.value_or(false), parse.value_or(true));
}

Result<std::vector<llama_token>> ApiReader::tokenize(const std::string& text, const char* field, bool special,
                                                     bool parse) const {
  auto tokens = engine::tokenize_bounded(engine_, text, special, parse);
  if (!tokens) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", field, tokens.error().message));
  return tokens;
}

/// Reads how many answers there are, where they end, and whether they are streamed.
Status ApiReader::read_delivery(const json& body, ApiRequest& out) const {
  const Fields fields(body);
  BRIMFUL_TRY(const auto count, fields.integer("n", 1, kMostAnswers));
  out.answers = static_cast<std::uint32_t>(count.value_or(1));
  BRIMFUL_TRY(out.request.stop_strings, fields.texts("stop"));
  std::erase(out.request.stop_strings, "");
  BRIMFUL_TRY(const auto stream, fields.boolean("stream"));
  out.stream = stream.value_or(false);
  if (const json* const options = fields.find("stream_options")) {
    if (!options->is_object()) return fields.refuse("stream_options", "must be an object");
    BRIMFUL_TRY(const auto usage, Fields(*options, "stream_options.").boolean("include_usage"));
    out.stream_usage = usage.value_or(false);
  }
  return {};
}

Status ApiReader::read_chat(const json& body, ApiRequest& out) const {
  const Fields fields(body);
  BRIMFUL_TRY(const auto limit, limit_of(fields, {"n_predict", "max_completion_tokens", "max_tokens"}));
  out.request.limit = limit.value_or(-1);
  BRIMFUL_TRY(const auto logprobs, fields.boolean("logprobs"));
  BRIMFUL_TRY(const auto top, fields.integer("top_logprobs", 0, kMostLogprobs));
  if (logprobs.value_or(false)) out.request.top_logprobs = static_cast<int>(top.value_or(0));
  chat::ChatRequest chat;
  BRIMFUL_TRY_VOID(read_conversation(body, chat));
  for (json& tool : chat.tools) BRIMFUL_TRY_VOID(ready_tool(tool["function"], out.warnings));
  BRIMFUL_TRY(Rules rules, rules_of(body, out.warnings));
  chat.json_schema = std::move(rules.schema);
  chat.grammar = std::move(rules.grammar);
  BRIMFUL_TRY(chat::ChatPrompt prompt, format_.apply(chat));
  prompt.constrain(out.request.sampling);
  out.request.prompt = std::move(prompt.tokens);
  std::ranges::move(prompt.stops, std::back_inserter(out.request.stop_strings));
  std::ranges::move(prompt.warnings, std::back_inserter(out.warnings));
  out.parser = std::move(prompt.parser);
  return {};
}

Status ApiReader::read_completion(const json& body, ApiRequest& out) const {
  const Fields fields(body);
  BRIMFUL_TRY(const auto limit, limit_of(fields, {"n_predict", "max_tokens"}));
  out.request.limit = limit.value_or(kCompletionLimit);
  BRIMFUL_TRY(const auto logprobs, fields.integer("logprobs", 0, kMostLogprobs));
  if (logprobs) out.request.top_logprobs = static_cast<int>(*logprobs);
  BRIMFUL_TRY(const auto suffix, fields.text("suffix"));
  if (suffix && !suffix->empty()) return fields.refuse("suffix", "is not supported");
  BRIMFUL_TRY(const auto best_of, fields.integer("best_of", 1, kMostAnswers));
  if (best_of.value_or(out.answers) > out.answers)
    out.warnings.emplace_back("best_of: is not supported; the answers are the first ones, not the best");
  BRIMFUL_TRY(const auto echo, fields.boolean("echo"));
  if (echo.value_or(false)) return fields.refuse("echo", "is not supported");
  BRIMFUL_TRY(Rules rules, rules_of(body, out.warnings));
  out.request.sampling.grammar = std::move(rules.grammar);
  const json* const prompt = fields.find("prompt");
  if (prompt == nullptr) return fields.refuse("prompt", "is missing");
  const bool one = prompt->is_string() || are_token_ids(*prompt, engine_.vocab()) || is_mixed(*prompt);
  if (!one && (!prompt->is_array() || prompt->empty()))
    return fields.refuse("prompt", "must be a string, an array of token ids, or an array of either");
  const std::size_t prompts = one ? 1 : prompt->size();
  if (prompts * out.answers > kMostAnswers)
    return fields.refuse("prompt", fmt::format("would get {} answers; at most {} are allowed",
                                               prompts * out.answers, kMostAnswers));
  for (std::size_t i = 0; i < prompts; ++i) {
    BRIMFUL_TRY(auto tokens, tokens_of(one ? *prompt : (*prompt)[i], "prompt", i));
    (i == 0 ? out.request.prompt : out.more_prompts.emplace_back()) = std::move(tokens);
  }
  return {};
}

Status ApiReader::check_grammar(const ApiRequest& request) const {
  const common_params_sampling& sampling = request.request.sampling;
  const Status tried = engine::try_grammar(engine_, sampling);
  if (tried) return {};
  const std::string_view field = sampling.grammar.type == COMMON_GRAMMAR_TYPE_USER ? "grammar"
                                 : sampling.grammar.type == COMMON_GRAMMAR_TYPE_TOOL_CALLS
                                     ? "tools"
                                     : "response_format";
  return fail(tried.error().code, fmt::format("{}: {}", field, tried.error().message));
}

/// The tokens of a text, of token ids, or of an array of both. `i` is the index in `field`, for messages.
Result<std::vector<llama_token>> ApiReader::tokens_of(const json& text, const char* field,
                                                      std::size_t i) const {
  std::vector<llama_token> out;
  if (text.is_string()) {
    BRIMFUL_TRY(out, tokenize(text.get<std::string>(), field));
  } else if (are_token_ids(text, engine_.vocab())) {
    out = text.get<std::vector<llama_token>>();
  } else if (is_mixed(text)) {
    for (const json& part : text) {
      BRIMFUL_TRY(const auto more, part.is_string() ? tokenize(part.get<std::string>(), field, out.empty())
                                                    : tokens_of(json::array({part}), field, i));
      out.insert(out.end(), more.begin(), more.end());
    }
  }
  if (!out.empty()) return out;
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{}: element {} is empty, or neither a string nor an array of token ids", field, i));
}

Status ApiReader::read_embeddings(const json& body, ApiRequest& out) const {
  BRIMFUL_TRY_VOID(engine_.can_embed());
  const Fields fields(body);
  const auto size = static_cast<std::size_t>(llama_model_n_embd_out(engine_.model()));
  BRIMFUL_TRY(const auto dimensions, fields.integer("dimensions", 1, static_cast<std::int64_t>(size)));
  out.embeddings.dimensions = static_cast<std::size_t>(dimensions.value_or(0));
  BRIMFUL_TRY(const auto format, fields.text("encoding_format"));
  if (format && *format != "float" && *format != "base64")
    return fields.refuse("encoding_format", "must be float or base64");
  out.embeddings.base64 = format == "base64";
  const json* const input = fields.find("input");
  if (input == nullptr) return fields.refuse("input", "is missing");
  const bool one = input->is_string() || are_token_ids(*input, engine_.vocab());
  if (!one && (!input->is_array() || input->empty()))
    return fields.refuse("input", "must be a string, an array of token ids, or an array of either");
  const std::size_t count = one ? 1 : input->size();
  const std::size_t most = std::clamp<std::size_t>(kMostFloats / size, 1, kMostInputs);
  if (count > most)
    return fields.refuse(
        "input", fmt::format("has {} inputs; for this model a request can have at most {}", count, most));
  std::size_t total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    BRIMFUL_TRY(auto tokens, tokens_of(one ? *input : (*input)[i], "input", i));
    total += tokens.size();
    out.embeddings.inputs.push_back(std::move(tokens));
    if (total > kMostTokensOfInputs)
      return fields.refuse("input", fmt::format("has more than {} tokens in all", kMostTokensOfInputs));
  }
  return {};
}

}  // namespace brimful::openai

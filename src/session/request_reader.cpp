#include "session/request_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/sampler.h"
#include "engine/tokenize.h"
#include "session/chat_request.h"

namespace brimful::session {
namespace {

constexpr std::uint32_t kMostLogProbabilities = 20;  // as in OpenAI's API

/// Sets what does not depend on the prompt, but for the sampling parameters. Errors: kInvalidArgument.
Status read_limits(const SamplingOptions& sampling, const RequestOptions& options, schedule::Request& out) {
  out.stop_strings = sampling.stop;
  std::erase(out.stop_strings, "");
  out.show_special = sampling.special_tokens;
  out.priority = options.priority == Priority::kInteractive ? schedule::Priority::kInteractive
                                                            : schedule::Priority::kBatch;
  out.repeatable = options.repeatable.value_or(out.sampling.temp <= 0 || sampling.seed.has_value());
  if (sampling.max_tokens)
    out.limit = static_cast<int>(std::min<std::uint32_t>(*sampling.max_tokens, INT32_MAX));
  if (!sampling.top_log_probabilities) return {};
  if (*sampling.top_log_probabilities > kMostLogProbabilities)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("top_log_probabilities: {} are too many: at most {}",
                            *sampling.top_log_probabilities, kMostLogProbabilities));
  out.top_logprobs = static_cast<int>(*sampling.top_log_probabilities);
  return {};
}

}  // namespace

RequestReader::RequestReader(const engine::Engine& engine, const std::string& chat_template)
    : engine_(engine) {
  if (engine.profile().chat_template.empty() && chat_template.empty()) {
    no_format_ = Error{ErrorCode::kUnsupported, "this model has no chat template: give a text to complete"};
    return;
  }
  auto format = chat::ChatFormat::create(engine, chat_template);
  if (format) {
    format_.emplace(std::move(*format));
  } else {
    no_format_ = format.error();
  }
}

Status RequestReader::check_tokens(const std::vector<std::int32_t>& tokens) const {
  const std::int32_t count = llama_vocab_n_tokens(engine_.vocab());
  const auto wrong =
      std::ranges::find_if(tokens, [&](std::int32_t token) { return token < 0 || token >= count; });
  if (wrong == tokens.end()) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("tokens: {}: ids are from 0 to {} for this model", *wrong, count - 1));
}

/// Sets the prompt of the request, the rules that its answer follows, and the parser of the answer.
Status RequestReader::read_prompt(const Prompt& prompt, AnswerRules rules, const Notes& notes,
                                  ReadRequest& out) const {
  schedule::Request& request = out.request;
  const int kinds = int{!prompt.text.empty()} + int{!prompt.tokens.empty()} + int{!prompt.messages.empty()};
  if (kinds > 1)
    return fail(ErrorCode::kInvalidArgument, "prompt: has more than one of text, tokens and messages");
  if (prompt.messages.empty()) {
    if (!prompt.tools.empty())
      return fail(ErrorCode::kInvalidArgument, "tools: belong to a chat, and there are no messages");
    request.sampling.grammar = std::move(rules.grammar);
    if (prompt.tokens.empty()) {
      BRIMFUL_TRY(request.prompt, engine::tokenize_bounded(engine_, prompt.text, true, true));
      return {};
    }
    BRIMFUL_TRY_VOID(check_tokens(prompt.tokens));
    request.prompt = prompt.tokens;
    return {};
  }
  if (!format_) return std::unexpected(*no_format_);
  BRIMFUL_TRY(const chat::ChatRequest chat, chat_request(prompt, std::move(rules), notes));
  BRIMFUL_TRY(chat::ChatPrompt rendered, format_->apply(chat));
  rendered.constrain(request.sampling);
  request.prompt = std::move(rendered.tokens);
  std::ranges::move(rendered.stops, std::back_inserter(request.stop_strings));
  // With special tokens in it, the answer is shown as it was written.
  if (!request.show_special) out.parser = std::move(rendered.parser);
  for (const std::string& warning : rendered.warnings) notes(warning);
  return {};
}

Result<ReadRequest> RequestReader::read(const Prompt& prompt, const SamplingOptions& sampling,
                                        const RequestOptions& options) const {
  if (engine_.only_embeds())
    return fail(ErrorCode::kUnsupported,
                "this model writes no text: it only makes embeddings, see Session::embed()");
  ReadRequest out;
  const Notes notes = notes_into(out.notes);
  BRIMFUL_TRY(AnswerRules rules, answer_rules(sampling, notes));
  BRIMFUL_TRY(out.request.sampling, sampling_params(sampling, llama_vocab_n_tokens(engine_.vocab())));
  BRIMFUL_TRY_VOID(read_limits(sampling, options, out.request));
  BRIMFUL_TRY_VOID(read_prompt(prompt, std::move(rules), notes, out));
  BRIMFUL_TRY_VOID(engine::try_grammar(engine_, out.request.sampling));
  return out;
}

Result<schedule::Request> RequestReader::read_for_vector(const Prompt& prompt) const {
  if (!prompt.messages.empty())
    return fail(ErrorCode::kInvalidArgument, "messages: have no vector: give a text or tokens");
  if (!prompt.text.empty() && !prompt.tokens.empty())
    return fail(ErrorCode::kInvalidArgument, "prompt: has both text and tokens");
  schedule::Request out{.embed = true, .priority = schedule::Priority::kInteractive};
  if (prompt.tokens.empty()) {
    BRIMFUL_TRY(out.prompt, engine::tokenize_bounded(engine_, prompt.text, true, false));
    return out;
  }
  BRIMFUL_TRY_VOID(check_tokens(prompt.tokens));
  out.prompt = prompt.tokens;
  return out;
}

}  // namespace brimful::session

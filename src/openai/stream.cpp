#include "openai/stream.h"

#include <algorithm>
#include <span>

namespace brimful::openai {
namespace {

using Json = nlohmann::ordered_json;

std::string event(const Json& json) {
  return "data: " + json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n\n";
}

/// The size of `text` without an incomplete character at its end, in bytes.
std::size_t whole_characters(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(text.size(), 3); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;  // a byte in the middle of a character
    const std::size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

Json delta_json(const chat::ChatDelta& delta) {
  Json out = Json::object();
  if (!delta.reasoning.empty()) out["reasoning_content"] = delta.reasoning;
  if (!delta.content.empty()) out["content"] = delta.content;
  if (!delta.call) return out;
  const chat::ToolCall& added = delta.call->added;
  Json call = {{"index", delta.call->index}};
  if (!added.id.empty()) call["id"] = added.id;
  if (!added.name.empty()) call["type"] = "function";
  if (!added.name.empty()) call["function"]["name"] = added.name;
  call["function"]["arguments"] = added.arguments;
  out["tool_calls"] = Json::array({std::move(call)});
  return out;
}

}  // namespace

Json AnswerStream::chunk(Json choices) const {
  const bool chat = request_.endpoint == Endpoint::kChat;
  Json out = {{"id", head_.id},
              {"object", chat ? "chat.completion.chunk" : "text_completion"},
              {"created", head_.created},
              {"model", head_.model},
              {"choices", std::move(choices)}};
  if (request_.stream_usage) out["usage"] = nullptr;
  return out;
}

Json AnswerStream::take_logprobs(Choice& choice) const {
  choice.told_logprobs += choice.logprobs.size();
  return logprobs_json(request_.endpoint, std::exchange(choice.logprobs, {}), vocab_, choice.offset);
}

/// Writes one event of a choice. `what` is an object with the field `delta` or `text`.
std::string AnswerStream::choice_event(std::size_t index, Json what) {
  what["index"] = index;
  what["logprobs"] = take_logprobs(choices_[index]);
  what["finish_reason"] = nullptr;
  return event(chunk(Json::array({std::move(what)})));
}

std::string AnswerStream::begin(std::size_t index) {
  if (request_.endpoint != Endpoint::kChat || std::exchange(choices_[index].begun, true)) return {};
  return choice_event(index, {{"delta", {{"role", "assistant"}, {"content", ""}}}});
}

std::string AnswerStream::deltas(std::size_t index, const std::vector<chat::ChatDelta>& deltas) {
  std::string out;
  for (const chat::ChatDelta& delta : deltas) out += choice_event(index, {{"delta", delta_json(delta)}});
  return out;
}

std::string AnswerStream::new_text(std::size_t index, bool last) {
  Choice& choice = choices_[index];
  const std::size_t end = last ? choice.text.size() : whole_characters(choice.text);
  const std::string piece = choice.text.substr(choice.told, end - choice.told);
  choice.told = end;
  if (piece.empty()) return {};
  return choice_event(index, {{"text", piece}});
}

std::string AnswerStream::add(std::size_t index, schedule::Piece piece) {
  Choice& choice = choices_[index];
  std::string out = begin(index);
  std::ranges::move(piece.logprobs, std::back_inserter(choice.logprobs));
  if (request_.endpoint == Endpoint::kChat) return out + deltas(index, choice.chat.add(piece.text));
  choice.text += piece.text;
  return out + new_text(index, false);
}

std::string AnswerStream::end(const std::vector<schedule::Answer>& answers) {
  std::string out;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    out += begin(i);
    out += request_.endpoint == Endpoint::kChat ? deltas(i, choice.chat.end()) : new_text(i, true);
    Json last = {{"index", i}};
    if (request_.endpoint == Endpoint::kChat) {
      last["delta"] = Json::object();
    } else {
      last["text"] = "";
    }
    const std::span rest(answers[i].logprobs);
    last["logprobs"] =
        logprobs_json(request_.endpoint, rest.subspan(choice.told_logprobs), vocab_, choice.offset);
    last["finish_reason"] = finish_reason(answers[i].reason, !choice.chat.told().tool_calls.empty());
    Json ending = chunk(Json::array({std::move(last)}));
    if (i == 0 && !request_.warnings.empty()) ending["warnings"] = request_.warnings;
    out += event(ending);
  }
  if (request_.stream_usage) {
    Json usage = chunk(Json::array());
    usage["usage"] = usage_json(request_, answers);
    out += event(usage);
  }
  return out + "data: [DONE]\n\n";
}

std::string AnswerStream::fail(const Error& error) { return event(error_body(error)); }

}  // namespace brimful::openai

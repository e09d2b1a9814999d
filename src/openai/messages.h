#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "chat/chat_format.h"

namespace brimful::openai {

/// Reads what a body of `/v1/chat/completions` says of the conversation: messages, tools, thoughts, and
/// whether the last message is to be continued. `out` keeps the rest. Errors: kInvalidArgument, beginning
/// with the field's name.
[[nodiscard]] Status read_conversation(const nlohmann::ordered_json& body, chat::ChatRequest& out);

}  // namespace brimful::openai

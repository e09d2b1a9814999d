#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "chat/chat_format.h"

namespace brimful::openai {

/// Reads the conversation from a body of `/v1/chat/completions`: the messages, the tools, the options for
/// thinking, and whether the answer continues the last message. The other fields of `out` stay as they are.
/// Errors: kInvalidArgument; the message begins with the field's name.
[[nodiscard]] Status read_conversation(const nlohmann::ordered_json& body, chat::ChatRequest& out);

}  // namespace brimful::openai

#pragma once

#include <brimful/session.h>

#include "chat/chat_format.h"
#include "session/sampling.h"

namespace brimful::session {

/// Makes the request to a chat template of `prompt`, which has messages, and of the rules of its answer.
/// `notes` says which parts of the tools' schemas are not enforced. Errors: kInvalidArgument; the message
/// begins with the field's name.
[[nodiscard]] Result<chat::ChatRequest> chat_request(const Prompt& prompt, AnswerRules rules,
                                                     const Notes& notes);

}  // namespace brimful::session

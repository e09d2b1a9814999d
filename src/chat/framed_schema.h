#pragma once

#include <chat.h>

#include "base/result.h"

namespace brimful::chat {

/// Makes an answer with thoughts and marks follow a JSON schema. For the formats of some templates, llama.cpp
/// makes no grammar of a schema; for others, its grammar forbids the marks that the template writes before
/// the content. In these cases the function replaces the grammar and the parser of `chat`. The new ones allow
/// what the template itself writes before the content, thoughts included, and then JSON that follows the
/// schema. In all other cases `chat` stays as it is.
/// Requires: `inputs` has a schema, no tools that may be called, and no answer to continue; `chat` is the
/// result of applying the templates to `inputs`. Errors: kInvalidArgument when the schema cannot be followed.
/// Thread-safe.
[[nodiscard]] Status frame_schema(const common_chat_templates* templates,
                                  const common_chat_templates_inputs& inputs, common_chat_params& chat);

}  // namespace brimful::chat

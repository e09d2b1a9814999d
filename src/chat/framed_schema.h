#pragma once

#include <chat.h>

#include "base/result.h"

namespace brimful::chat {

/// Lets an answer with thoughts and marks follow a schema. llama.cpp makes no grammar of a schema for some
/// formats of templates, and for others one that does not let the model write the marks that the template has
/// before the content. There, `chat` gets a grammar and a parser of: what the template itself writes before
/// the content of an answer, thoughts among it, and JSON by the schema. Otherwise `chat` stays as it is.
/// Requires: `inputs` has a schema, no tools that may be called, and no answer that is continued; `chat` is
/// what the templates made of it. Errors: kInvalidArgument where the schema cannot be followed. Threading:
/// any.
[[nodiscard]] Status frame_schema(const common_chat_templates* templates,
                                  const common_chat_templates_inputs& inputs, common_chat_params& chat);

}  // namespace brimful::chat

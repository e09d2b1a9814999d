#pragma once

#include <chat.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::chat {

/// Checks the size and the nesting of a chat template. llama.cpp reads a template by recursion, and the
/// recursion allocates nothing, so no fence can stop it. Errors: kUnsupported when the template nests too
/// deep, is too long, or has an expression that is too long.
[[nodiscard]] Status check_template_text(std::string_view text);

/// Reads the chat templates of a model, or `text` instead if it is not empty. A child process tries the
/// template first, so that a template that crashes or never ends does no harm. Then it is read inside a
/// fence. Blocks: up to 5 s. Errors: kUnsupported; the message is one line without a prefix.
[[nodiscard]] Result<common_chat_templates_ptr> read_chat_templates(const llama_model* model,
                                                                    const std::string& text);

/// Calls common_chat_templates_apply() inside a fence. Throws std::runtime_error with one line. Thread-safe.
[[nodiscard]] common_chat_params apply_chat_templates(const common_chat_templates* templates,
                                                      const common_chat_templates_inputs& inputs);

/// Reads, inside a fence, the parser of answers that apply_chat_templates() returned. Errors:
/// kInvalidArgument; the message is one line without a prefix. Thread-safe.
[[nodiscard]] Result<common_chat_parser_params> read_chat_parser(const common_chat_params& applied);

/// Calls common_chat_parse() inside a fence. Throws std::runtime_error with one line. Thread-safe.
[[nodiscard]] common_chat_msg parse_chat_answer(const std::string& text, bool is_partial,
                                                const common_chat_parser_params& params);

}  // namespace brimful::chat

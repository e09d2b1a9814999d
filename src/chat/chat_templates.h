#pragma once

#include <chat.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace brimful::chat {

/// How deep the text of a chat template nests: llama.cpp reads it by recursion that allocates nothing, so
/// that no fence sees it. Errors: kUnsupported for one that is too deep, too long, or has one expression too
/// long.
[[nodiscard]] Status check_template_text(std::string_view text);

/// Reads the chat templates of a model, or `text` instead where it is not empty. The template is tried in a
/// process of its own first: one that crashes or never ends is found there. Then it is read inside a fence.
/// Blocks: up to 5 s. Errors: kUnsupported, one line, without a prefix.
[[nodiscard]] Result<common_chat_templates_ptr> read_chat_templates(const llama_model* model,
                                                                    const std::string& text);

/// common_chat_templates_apply() inside a fence. Throws std::runtime_error with one line. Threading: any.
[[nodiscard]] common_chat_params apply_chat_templates(const common_chat_templates* templates,
                                                      const common_chat_templates_inputs& inputs);

/// The parser of answers that comes with applied templates, read inside a fence. Errors: kInvalidArgument,
/// one line, without a prefix. Threading: any.
[[nodiscard]] Result<common_chat_parser_params> read_chat_parser(const common_chat_params& applied);

/// common_chat_parse() inside a fence. Throws std::runtime_error with one line. Threading: any.
[[nodiscard]] common_chat_msg parse_chat_answer(const std::string& text, bool is_partial,
                                                const common_chat_parser_params& params);

}  // namespace brimful::chat

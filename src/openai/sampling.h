#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "schedule/request.h"

namespace brimful::openai {

enum class Endpoint { kChat, kCompletion, kEmbeddings };

/// Reads the sampling parameters of a body: the fields of engine::sampling_options(), and `seed`,
/// `ignore_eos`, `logit_bias`, `samplers` and `dry_sequence_breakers`. Errors: kInvalidArgument; the message
/// begins with the field's name.
[[nodiscard]] Status read_sampling(const nlohmann::ordered_json& body, const llama_vocab* vocab,
                                   common_params_sampling& out);

/// One sentence for each field of the body that is not known here. The answer is the same as without these
/// fields.
[[nodiscard]] std::vector<std::string> unknown_fields(Endpoint endpoint, const nlohmann::ordered_json& body);

}  // namespace brimful::openai

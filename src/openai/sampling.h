#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "schedule/request.h"

namespace brimful::openai {

enum class Endpoint { kChat, kCompletion, kEmbeddings };

/// Reads how tokens are chosen: the fields of engine::sampling_options(), `seed`, `logit_bias`, `samplers`
/// and the like. Errors: kInvalidArgument, beginning with the field's name.
[[nodiscard]] Status read_sampling(const nlohmann::ordered_json& body, const llama_vocab* vocab,
                                   common_params_sampling& out);

/// A sentence for each field that would change an answer and is not understood here.
[[nodiscard]] std::vector<std::string> unknown_fields(Endpoint endpoint, const nlohmann::ordered_json& body);

}  // namespace brimful::openai

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/statistics.h"

/// Results as text, with llama-perplexity's names and digits, and as JSON. Pure.
namespace brimful::cli {

/// `[3]4.5460,`: the perplexity up to a chunk.
[[nodiscard]] std::string perplexity_of_chunk(std::uint32_t chunk, const eval::PerplexitySums& sums);
/// `Final estimate: PPL = 4.5460 +/- 0.05121`.
[[nodiscard]] std::string final_perplexity(const eval::PerplexitySums& sums);

/// The heading of a table of chunks, and its row for a chunk.
[[nodiscard]] std::string divergence_heading();
[[nodiscard]] std::string divergence_of_chunk(std::uint32_t chunk, const eval::DivergenceSums& sums);

/// What was found out about each token. divergence_text() and divergence_json() sort both lists.
struct TokenValues {
  std::vector<float> kl;
  std::vector<float> p_difference;
};
/// The statistics of all tokens. Of less than 100 tokens, there are none.
[[nodiscard]] std::string divergence_text(const eval::DivergenceSums& sums, TokenValues& values);

[[nodiscard]] nlohmann::ordered_json perplexity_json(const eval::PerplexitySums& sums);
[[nodiscard]] nlohmann::ordered_json divergence_json(const eval::DivergenceSums& sums, TokenValues& values);

}  // namespace brimful::cli

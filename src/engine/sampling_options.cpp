#include "engine/sampling_options.h"

#include <fmt/format.h>
#include <sampling.h>

#include <array>
#include <cfloat>
#include <cstdint>

namespace brimful::engine {
namespace {

using P = common_params_sampling;
constexpr double kAny = FLT_MAX;
constexpr double kMostTokens = INT32_MAX;

constexpr auto kOptions = std::to_array<SamplingOption>({
    {"temperature", nullptr, "--temp", &P::temp, 0, 100, "temperature (0: greedy)", 2.0},
    {"top_k", nullptr, "--top-k", &P::top_k, -1, kMostTokens, "top-k (0 or -1: off)"},
    {"top_p", nullptr, "--top-p", &P::top_p, 0, 1, "top-p (1: off)"},
    {"min_p", nullptr, "--min-p", &P::min_p, 0, 1, "min-p (0: off)"},
    {"typical_p", nullptr, "--typical", &P::typ_p, 0, 1, "locally typical sampling (1: off)"},
    {"top_n_sigma", nullptr, "--top-nsigma", &P::top_n_sigma, -1, kAny,
     "only tokens within so many standard deviations of the likeliest (-1: off)"},
    {"xtc_probability", nullptr, "--xtc-probability", &P::xtc_probability, 0, 1,
     "chance that XTC leaves out the likeliest tokens (0: off)"},
    {"xtc_threshold", nullptr, "--xtc-threshold", &P::xtc_threshold, 0, 1,
     "probability from which XTC leaves tokens out"},
    {"dynatemp_range", nullptr, "--dynatemp-range", &P::dynatemp_range, 0, 100,
     "the temperature moves by so much with the model's certainty (0: off)"},
    {"dynatemp_exponent", nullptr, "--dynatemp-exp", &P::dynatemp_exponent, 0, 100,
     "how the model's certainty moves the temperature"},
    {"repeat_last_n", nullptr, "--repeat-last-n", &P::penalty_last_n, -1, kMostTokens,
     "newest tokens that penalties look at (0: none, -1: all of the context)"},
    {"repeat_penalty", "repetition_penalty", "--repeat-penalty", &P::penalty_repeat, 0.01, 100,
     "penalty for repeated tokens (1: off)"},
    {"presence_penalty", nullptr, "--presence-penalty", &P::penalty_present, -2, 2,
     "penalty for tokens that the text has already (0: off)"},
    {"frequency_penalty", nullptr, "--frequency-penalty", &P::penalty_freq, -2, 2,
     "penalty for each time that the text has a token (0: off)"},
    {"dry_multiplier", nullptr, "--dry-multiplier", &P::dry_multiplier, 0, 100,
     "penalty for repeated sequences, DRY (0: off)"},
    {"dry_base", nullptr, "--dry-base", &P::dry_base, 1, 100, "how fast DRY's penalty grows with the length"},
    {"dry_allowed_length", nullptr, "--dry-allowed-length", &P::dry_allowed_length, 0, kMostTokens,
     "tokens that DRY lets repeat"},
    {"dry_penalty_last_n", nullptr, "--dry-penalty-last-n", &P::dry_penalty_last_n, -1, kMostTokens,
     "newest tokens that DRY looks at (0: none, -1: all of the context)"},
    {"mirostat", nullptr, "--mirostat", &P::mirostat, 0, 2,
     "Mirostat 1 or 2, instead of top-k and the like (0: off)"},
    {"mirostat_tau", nullptr, "--mirostat-ent", &P::mirostat_tau, 0, 100, "Mirostat's target entropy"},
    {"mirostat_eta", nullptr, "--mirostat-lr", &P::mirostat_eta, 0, 100, "Mirostat's learning rate"},
    {"adaptive_target", nullptr, "--adaptive-target", &P::adaptive_target, -1, 1,
     "choose tokens near this probability; needs the sampler adaptive_p (-1: off)"},
    {"adaptive_decay", nullptr, "--adaptive-decay", &P::adaptive_decay, 0, 0.99,
     "how slowly adaptive-p forgets"},
    {"min_keep", nullptr, "--min-keep", &P::min_keep, 0, kMostTokens, "tokens that samplers leave at least"},
});

Result<std::vector<common_sampler_type>> checked(std::vector<common_sampler_type> found, std::size_t wanted) {
  if (found.size() == wanted) return found;
  return fail(
      ErrorCode::kInvalidArgument,
      "names an unknown sampler; known: penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc, "
      "temperature, infill, adaptive_p");
}

}  // namespace

std::span<const SamplingOption> sampling_options() { return kOptions; }

Result<std::vector<common_sampler_type>> samplers_of(const std::vector<std::string>& names) {
  return checked(common_sampler_types_from_names(names), names.size());
}

Result<std::vector<common_sampler_type>> samplers_of_letters(const std::string& letters) {
  return checked(common_sampler_types_from_chars(letters), letters.size());
}

}  // namespace brimful::engine

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
     "top-n-sigma: keep tokens within so many standard deviations of the best logit (-1: off)"},
    {"xtc_probability", nullptr, "--xtc-probability", &P::xtc_probability, 0, 1,
     "XTC: probability of leaving out the likeliest tokens (0: off)"},
    {"xtc_threshold", nullptr, "--xtc-threshold", &P::xtc_threshold, 0, 1,
     "XTC: least probability of tokens that are left out"},
    {"dynatemp_range", nullptr, "--dynatemp-range", &P::dynatemp_range, 0, 100,
     "dynamic temperature: most distance from --temp, by the model's certainty (0: off)"},
    {"dynatemp_exponent", nullptr, "--dynatemp-exp", &P::dynatemp_exponent, 0, 100,
     "dynamic temperature: exponent"},
    {"repeat_last_n", nullptr, "--repeat-last-n", &P::penalty_last_n, -1, kMostTokens,
     "number of last tokens that penalties consider (0: none, -1: the whole context)"},
    {"repeat_penalty", "repetition_penalty", "--repeat-penalty", &P::penalty_repeat, 0.01, 100,
     "repetition penalty (1: off)"},
    {"presence_penalty", nullptr, "--presence-penalty", &P::penalty_present, -2, 2,
     "presence penalty, once for each token that the text already has (0: off)"},
    {"frequency_penalty", nullptr, "--frequency-penalty", &P::penalty_freq, -2, 2,
     "frequency penalty, for each time that the text already has the token (0: off)"},
    {"dry_multiplier", nullptr, "--dry-multiplier", &P::dry_multiplier, 0, 100,
     "DRY: penalty for repeated sequences (0: off)"},
    {"dry_base", nullptr, "--dry-base", &P::dry_base, 1, 100,
     "DRY: base of the penalty's growth with the length of the sequence"},
    {"dry_allowed_length", nullptr, "--dry-allowed-length", &P::dry_allowed_length, 0, kMostTokens,
     "DRY: longest sequence that may repeat without a penalty, in tokens"},
    {"dry_penalty_last_n", nullptr, "--dry-penalty-last-n", &P::dry_penalty_last_n, -1, kMostTokens,
     "DRY: number of last tokens that are searched (0: none, -1: the whole context)"},
    {"mirostat", nullptr, "--mirostat", &P::mirostat, 0, 2,
     "Mirostat version, 1 or 2, in place of top-k and similar samplers (0: off)"},
    {"mirostat_tau", nullptr, "--mirostat-ent", &P::mirostat_tau, 0, 100, "Mirostat: target entropy (tau)"},
    {"mirostat_eta", nullptr, "--mirostat-lr", &P::mirostat_eta, 0, 100, "Mirostat: learning rate (eta)"},
    {"adaptive_target", nullptr, "--adaptive-target", &P::adaptive_target, -1, 1,
     "adaptive-p: probability to choose tokens near to; needs adaptive_p in --samplers (-1: off)"},
    {"adaptive_decay", nullptr, "--adaptive-decay", &P::adaptive_decay, 0, 0.99,
     "adaptive-p: decay; a larger value adapts more slowly"},
    {"min_keep", nullptr, "--min-keep", &P::min_keep, 0, kMostTokens,
     "least number of tokens that each sampler keeps"},
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

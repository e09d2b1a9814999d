#include "synth/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "synth/weights.h"

namespace brimful::synth {

Result<std::vector<std::uint32_t>> following_tokens(const SynthText& text, const std::vector<bool>& control,
                                                    std::uint64_t seed) {
  if (text.period < 2)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a text repeats after {} tokens; it can be 2 or more", text.period));
  for (const float errors : {text.errors, text.head_errors}) {
    if (!(errors >= 0 && errors <= 1))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the share of errors is {}; it can be 0 to 1", errors));
  }
  std::vector<std::uint32_t> written;
  for (std::size_t token = 0; token < control.size(); ++token)
    if (!control[token]) written.push_back(static_cast<std::uint32_t>(token));
  if (written.size() < 2)
    return fail(ErrorCode::kInvalidArgument, "the vocabulary has fewer than two tokens that can be written");

  // The tokens are cut into loops of `period` tokens. What is left leads into the first loop.
  const std::size_t period = std::min<std::size_t>(text.period, written.size());
  const std::size_t loops = written.size() / period;
  SynthRandom random(synth_seed(seed, "errors of the text"));
  constexpr std::uint64_t kParts = 1 << 20;
  const auto wrong = static_cast<std::uint64_t>(static_cast<double>(text.errors) * kParts);
  std::vector<std::uint32_t> next(control.size(), written.front());
  for (std::size_t i = 0; i < written.size(); ++i) {
    const std::size_t begin = i / period < loops ? i / period * period : 0;
    const bool error = random.below(kParts) < wrong;
    next[written[i]] = written[begin + (i - begin + (error ? 2 : 1)) % period];
  }
  return next;
}

}  // namespace brimful::synth

#include "engine/tokenize.h"

#include <common.h>
#include <fmt/format.h>

#include <utility>

#include "foreign/foreign_limits.h"

namespace brimful::engine {

Result<std::vector<llama_token>> tokenize_bounded(const Engine& engine, const std::string& text, bool special,
                                                  bool parse) {
  std::optional<std::uint64_t> context;
  if (engine.context() != nullptr) context = llama_n_ctx(engine.context());
  const foreign::FenceLimits limits = foreign::limits_of_text(context);
  const foreign::ForeignReading right;
  auto out = foreign::fenced(
      limits, [&](const foreign::Fence&) { return tokenize(engine.vocab(), text, special, parse); });
  if (!out)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the text of {} is too long to be tokenized: {}",
                            format_bytes(Bytes{text.size()}), out.error().message));
  return std::move(*out);
}

Result<std::vector<llama_token>> tokenize(const llama_vocab* vocab, const std::string& text, bool special,
                                          bool parse) {
  try {
    return common_tokenize(vocab, text, special, parse);
  } catch (const std::exception&) {  // the vocabulary has no byte tokens
    return fail(ErrorCode::kUnsupported, "the model's vocabulary cannot express this text");
  }
}

}  // namespace brimful::engine

#include "eval/chunk_passes.h"

#include <fmt/format.h>

#include <algorithm>

namespace brimful::eval {
namespace {

constexpr std::uint32_t kUsualBatch = 2048;  // llama.cpp's -b
constexpr std::uint32_t kUsualUbatch = 512;  // llama.cpp's -ub
constexpr std::uint32_t kSmallestUbatch = 32;
constexpr std::uint32_t kMostSequences = 64;
constexpr std::uint32_t kMostOfContext = 256;  // LLAMA_MAX_SEQ in llama.cpp
// A shape is taken in place of a smaller one where it reads this share less.
constexpr double kWorth = 0.98;

std::uint32_t first_output(std::uint32_t chunk_tokens, Outputs outputs) {
  return outputs == Outputs::kAll ? 0 : chunk_tokens / 2;
}

/// Number of tokens with logits in one batch, at most.
std::uint32_t outputs_of(const ChunkShape& shape, Outputs outputs) {
  const std::uint32_t of_chunk = shape.chunk_tokens - first_output(shape.chunk_tokens, outputs);
  return std::min(shape.batch, shape.sequences * of_chunk);
}

Status prepare(engine::Engine& engine, engine::ContextOptions options, const ChunkShape& shape,
               Outputs outputs) {
  options.context = shape.sequences * shape.chunk_tokens;
  options.batch = shape.batch;
  options.ubatch = shape.ubatch;
  options.sequences = shape.sequences;
  options.sequence_tokens = std::min(shape.chunk_tokens, shape.batch);
  options.outputs = outputs_of(shape, outputs);
  return engine.prepare(options);
}

/// Bytes that all passes together read from disk. Of experts, a large pass uses all.
double read_by_all(const engine::Engine& engine, const ChunkShape& shape, std::uint64_t chunks) {
  const plan::Placement& placement = engine.plan().placement;
  plan::MemoryMap map;
  plan::describe_weights(engine.profile(), placement, map);
  const Bytes missing = saturating_sub(map.experts_total, map.experts_in_slots);
  return static_cast<double>((map.streamed_per_pass + missing).value) *
         static_cast<double>(shape.passes(chunks));
}

/// The shape that llama-perplexity has with these flags.
Result<ChunkShape> shape_of_flags(std::uint32_t chunk_tokens, const WantedShape& wanted) {
  const std::uint32_t batch = wanted.batch.value_or(std::max(kUsualBatch, wanted.ubatch.value_or(0)));
  ChunkShape out{.chunk_tokens = chunk_tokens, .sequences = std::max(1U, batch / chunk_tokens)};
  out.batch = std::min(batch, out.sequences * chunk_tokens);
  out.ubatch = std::min(wanted.ubatch.value_or(kUsualUbatch), out.batch);
  if (out.sequences <= kMostOfContext) return out;
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("a batch of {} tokens has {} chunks of {} tokens, and llama.cpp computes at most {} "
                  "together: use a smaller batch",
                  batch, out.sequences, chunk_tokens, kMostOfContext));
}

/// The shapes to choose from. The first one is usual; the later ones compute more together.
std::vector<ChunkShape> growing_shapes(std::uint32_t chunk_tokens, std::uint64_t chunks) {
  std::vector<ChunkShape> out;
  const std::uint64_t most = std::min<std::uint64_t>(chunks, kMostSequences);
  for (std::uint64_t n = std::min<std::uint64_t>(most, std::max(1U, kUsualUbatch / chunk_tokens)); n > 0;
       n = n < most ? std::min(2 * n, most) : 0) {
    const auto sequences = static_cast<std::uint32_t>(n);
    const std::uint64_t tokens = std::uint64_t{sequences} * chunk_tokens;
    if (tokens > kLargestUbatch && !out.empty()) break;
    const auto ubatch = static_cast<std::uint32_t>(std::min<std::uint64_t>(tokens, kLargestUbatch));
    out.push_back({chunk_tokens, sequences, ubatch, ubatch});
  }
  return out;
}

/// Shapes for budgets in which the usual one does not fit, the most wanted one first.
std::vector<ChunkShape> shrinking_shapes(ChunkShape from) {
  std::vector<ChunkShape> out;
  while (from.sequences > 1) {
    from.sequences = (from.sequences + 1) / 2;
    from.batch = from.ubatch = from.sequences * from.chunk_tokens;
    out.push_back(from);
  }
  while (from.ubatch / 2 >= kSmallestUbatch) {
    from.batch = from.ubatch = from.ubatch / 2;
    out.push_back(from);
  }
  return out;
}

}  // namespace

std::uint64_t ChunkShape::passes(std::uint64_t chunks) const {
  const auto ceiling = [](std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; };
  if (batch < chunk_tokens) {
    const std::uint64_t whole = chunk_tokens / batch * ceiling(batch, ubatch);
    return chunks * (whole + ceiling(chunk_tokens % batch, ubatch));
  }
  return ceiling(chunks, sequences) * ceiling(std::uint64_t{sequences} * chunk_tokens, ubatch);
}

Result<ChunkShape> prepare_chunks(engine::Engine& engine, engine::ContextOptions options,
                                  std::uint32_t chunk_tokens, std::uint64_t chunks, Outputs outputs,
                                  const WantedShape& wanted) {
  if (wanted.fixed || wanted.batch || wanted.ubatch) {
    ChunkShape shape;
    if (wanted.fixed) {
      shape = *wanted.fixed;
    } else {
      BRIMFUL_TRY(shape, shape_of_flags(chunk_tokens, wanted));
    }
    BRIMFUL_TRY_VOID(prepare(engine, options, shape, outputs));
    return shape;
  }
  const std::vector<ChunkShape> shapes = growing_shapes(chunk_tokens, chunks);
  const Status usual = prepare(engine, options, shapes.front(), outputs);
  if (!usual && usual.error().code != ErrorCode::kInfeasible) return std::unexpected(usual.error());
  if (!usual) {
    const std::vector<ChunkShape> smaller = shrinking_shapes(shapes.front());
    for (const ChunkShape& shape : smaller) {
      const Status fits = prepare(engine, options, shape, outputs);
      if (fits) return shape;
      if (fits.error().code != ErrorCode::kInfeasible || &shape == &smaller.back())
        return std::unexpected(fits.error());
    }
    return std::unexpected(usual.error());
  }
  ChunkShape best = shapes.front();
  double least = read_by_all(engine, best, chunks);
  bool is_prepared = true;
  for (const ChunkShape& shape : std::span(shapes).subspan(1)) {
    if (least == 0) break;
    const Status fits = prepare(engine, options, shape, outputs);
    is_prepared = false;
    if (!fits && fits.error().code != ErrorCode::kInfeasible) return std::unexpected(fits.error());
    if (!fits) break;
    const double read = read_by_all(engine, shape, chunks);
    if (read > least * kWorth) break;
    best = shape;
    least = read;
    is_prepared = true;
  }
  if (!is_prepared) BRIMFUL_TRY_VOID(prepare(engine, options, best, outputs));
  return best;
}

ChunkPasses::ChunkPasses(engine::Engine& engine, std::span<const llama_token> tokens, ChunkShape shape,
                         Outputs outputs)
    : engine_(engine),
      tokens_(tokens),
      shape_(shape),
      first_output_(first_output(shape.chunk_tokens, outputs)),
      beginning_(llama_vocab_get_add_bos(engine.vocab()) ? std::optional(llama_vocab_bos(engine.vocab()))
                                                         : std::nullopt),
      batch_tokens_(shape.batch),
      positions_(shape.batch),
      outputs_(shape.batch),
      sequences_(shape.batch),
      sequence_pointers_(shape.batch),
      sequence_counts_(shape.batch, 1) {
  for (std::size_t i = 0; i < sequences_.size(); ++i) sequence_pointers_[i] = &sequences_[i];
}

Status ChunkPasses::compute(std::uint32_t first, std::uint32_t count, const OnLogits& on_logits) {
  llama_memory_clear(llama_get_memory(engine_.context()), true);
  // A batch has all of several chunks, or a part of a single one.
  const std::uint32_t step = std::min(shape_.batch, shape_.chunk_tokens);
  for (std::uint32_t begin = 0; begin < shape_.chunk_tokens; begin += step) {
    const std::uint32_t end = std::min(begin + step, shape_.chunk_tokens);
    std::size_t size = 0;
    for (std::uint32_t sequence = 0; sequence < count; ++sequence) {
      const std::size_t chunk = (std::size_t{first} + sequence) * shape_.chunk_tokens;
      for (std::uint32_t position = begin; position < end; ++position, ++size) {
        batch_tokens_[size] = position == 0 && beginning_ ? *beginning_ : tokens_[chunk + position];
        positions_[size] = static_cast<llama_pos>(position);
        outputs_[size] = position >= first_output_ ? 1 : 0;
        sequences_[size] = static_cast<llama_seq_id>(sequence);
      }
    }
    const llama_batch batch{.n_tokens = static_cast<std::int32_t>(size),
                            .token = batch_tokens_.data(),
                            .embd = nullptr,
                            .pos = positions_.data(),
                            .n_seq_id = sequence_counts_.data(),
                            .seq_id = sequence_pointers_.data(),
                            .logits = outputs_.data()};
    BRIMFUL_TRY_VOID(engine_.decode(batch));
    const std::uint32_t from = std::max(begin, first_output_);
    if (from >= end || !on_logits) continue;
    for (std::uint32_t sequence = 0; sequence < count; ++sequence) {
      const auto row = static_cast<std::int32_t>(sequence * (end - begin) + (from - begin));
      const float* const values = llama_get_logits_ith(engine_.context(), row);
      if (values == nullptr) return fail(ErrorCode::kInternal, "llama.cpp computed no logits");
      BRIMFUL_TRY_VOID(on_logits(first + sequence, from, end - from, values));
    }
  }
  return {};
}

}  // namespace brimful::eval

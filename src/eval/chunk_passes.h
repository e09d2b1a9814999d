#pragma once

#include <llama.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine.h"

/// A long text is cut into chunks of the same number of tokens, each computed for itself, as llama-perplexity
/// and llama-imatrix do: a chunk begins with the token of the beginning of a text, if the model wants one.
namespace brimful::eval {

/// The largest number of tokens in a pass that prepare_chunks() chooses.
inline constexpr std::uint32_t kLargestUbatch = 8192;

/// How chunks are computed together.
struct ChunkShape {
  std::uint32_t chunk_tokens = 0;
  /// Number of chunks that are computed together, each as a sequence of its own.
  std::uint32_t sequences = 1;
  /// Number of tokens in one call of llama_decode(): all of `sequences` chunks, or a part of one chunk.
  std::uint32_t batch = 0;
  /// Number of tokens in one pass over the weights.
  std::uint32_t ubatch = 0;

  /// Whether chunks of so many tokens can be computed with it. One that was read from a file may be wrong.
  [[nodiscard]] bool is_for(std::uint32_t tokens) const {
    return chunk_tokens == tokens && sequences > 0 && batch > 0 && ubatch > 0;
  }
  /// Number of passes over the weights for so many chunks.
  [[nodiscard]] std::uint64_t passes(std::uint64_t chunks) const;
};

/// What the user has fixed of a shape, by the names of llama.cpp.
struct WantedShape {
  std::optional<std::uint32_t> batch;
  std::optional<std::uint32_t> ubatch;
  /// All of it, as an interrupted computation had it.
  std::optional<ChunkShape> fixed;
};

/// Which tokens of a chunk have logits.
enum class Outputs {
  kSecondHalf,
  /// llama-imatrix wants them all: otherwise the last layer would not compute them.
  kAll,
};

/// Prepares a context for chunks, with the shape that reads the fewest bytes for all of them: more chunks
/// together are fewer passes, but their buffers take memory that could hold weights. Where nothing streams,
/// chunks of together 512 tokens are enough. `options` has what does not depend on the shape. Errors: those
/// of Engine::prepare(); kInvalidArgument for a batch that llama.cpp could not cut.
[[nodiscard]] Result<ChunkShape> prepare_chunks(engine::Engine& engine, engine::ContextOptions options,
                                                std::uint32_t chunk_tokens, std::uint64_t chunks,
                                                Outputs outputs, const WantedShape& wanted);

/// Computes chunks with a context of prepare_chunks(). Threading: none.
class ChunkPasses {
 public:
  /// Gets the logits of tokens of one chunk that follow each other: `rows` tokens from `position` on. The
  /// values are valid during the call. An error ends the computation.
  using OnLogits = std::function<Status(std::uint32_t chunk, std::uint32_t position, std::uint32_t rows,
                                        const float* values)>;

  /// `tokens` and `engine` outlive this. Requires: the engine is started.
  ChunkPasses(engine::Engine& engine, std::span<const llama_token> tokens, ChunkShape shape, Outputs outputs);

  /// Computes the chunks from `first` to before `first + count`, at most ChunkShape::sequences. Errors: those
  /// of Engine::decode() and of `on_logits`.
  [[nodiscard]] Status compute(std::uint32_t first, std::uint32_t count, const OnLogits& on_logits);

 private:
  engine::Engine& engine_;
  const std::span<const llama_token> tokens_;
  const ChunkShape shape_;
  const std::uint32_t first_output_;
  const std::optional<llama_token> beginning_;
  std::vector<llama_token> batch_tokens_;
  std::vector<llama_pos> positions_;
  std::vector<std::int8_t> outputs_;
  std::vector<llama_seq_id> sequences_;
  std::vector<llama_seq_id*> sequence_pointers_;
  std::vector<std::int32_t> sequence_counts_;
};

}  // namespace brimful::eval

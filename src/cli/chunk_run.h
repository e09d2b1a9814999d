#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/run_options.h"
#include "engine/engine.h"
#include "eval/checkpoint.h"
#include "eval/chunk_passes.h"

/// What `brimful eval` and `brimful imatrix` share: a text that is computed in chunks, for hours if need be.
namespace brimful::cli {

struct ChunkOptions {
  /// Its context is the size of a chunk, and its prompt file is the text.
  RunOptions run;
  /// The number of chunks to compute; -1: all that the text has.
  std::int64_t chunks = -1;
  bool parse_special = false;
  std::optional<std::string> checkpoint;
  bool restart = false;
  bool json = false;
};

/// Adds the flags of both commands. Lifetime: `options` must outlive the parsing.
void add_chunk_flags(CLI::App& command, ChunkOptions& options);

/// A model that is opened, and the tokens that it will compute.
struct ChunkText {
  std::unique_ptr<engine::Engine> engine;
  std::uint32_t chunk_tokens = 0;
  std::uint32_t chunks = 0;
  /// Exactly the tokens of the chunks.
  std::vector<llama_token> tokens;
  /// What tells this computation from others: the model, the text and the settings.
  std::string identity;
};

/// Tokens that were read from a file of logits: the text, when the user gave none.
struct GivenTokens {
  std::uint32_t chunk_tokens = 0;
  std::vector<llama_token> tokens;
};

/// Opens the model, and reads the text and tokenizes it inside the budget. `given`: the text when there is no
/// file, and what the file must be equal to when there is one; null: there is no reference. Errors: those of
/// Engine::open(); kInvalidArgument for a text that is empty, too short or none, and for one that is not the
/// reference's.
[[nodiscard]] Result<ChunkText> open_text(const ChunkOptions& options, const GivenTokens* given);

/// Opens the checkpoint: the file of --checkpoint, else `usual`, or a file in the state folder when that is
/// empty. With --restart, an old state is removed. Errors: those of Checkpoint::open().
[[nodiscard]] Result<eval::Checkpoint> open_checkpoint(const ChunkOptions& options, const std::string& usual,
                                                       const std::string& identity);

/// The context of an evaluation, without its shape. `reserve`: bytes that the command allocates.
[[nodiscard]] Result<engine::ContextOptions> chunk_context(const ChunkOptions& options, Bytes reserve);

/// What the flags say about the shape. `before`: the shape of an interrupted computation.
[[nodiscard]] eval::WantedShape wanted_shape(const ChunkOptions& options,
                                             const std::optional<eval::ChunkShape>& before);

/// Ends the computation of an engine on Ctrl-C and SIGTERM: the state that was saved last stays. One object
/// at a time.
class StopOnSignal {
 public:
  explicit StopOnSignal(engine::Engine& engine);
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;
  [[nodiscard]] static bool stopped();
};

/// Shows on standard error how many chunks are done, and the time that is left.
class ChunkProgress {
 public:
  /// `what` stands in front of the numbers. `already` chunks were done before.
  ChunkProgress(std::string what, std::uint32_t already, std::uint32_t chunks);
  ~ChunkProgress() { wipe(); }
  ChunkProgress(const ChunkProgress&) = delete;
  ChunkProgress& operator=(const ChunkProgress&) = delete;
  void show(std::uint32_t done);
  void wipe();

 private:
  using Clock = std::chrono::steady_clock;
  const std::string what_;
  const std::uint32_t already_;
  const std::uint32_t chunks_;
  const bool terminal_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point shown_ = begin_;
};

/// The number of threads that score tokens: as many as compute prompts.
[[nodiscard]] int scoring_threads(const ChunkOptions& options);
/// Calls `work` for each of `count` rows, on that many threads.
void for_rows(std::size_t count, int threads, const std::function<void(std::size_t)>& work);
/// Bytes that the threads of for_rows() take.
[[nodiscard]] Bytes memory_of_rows(int threads);

}  // namespace brimful::cli

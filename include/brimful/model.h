#pragma once

#include <brimful/budgets.h>
#include <brimful/export.h>
#include <brimful/result.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace brimful {

/// What a session is to hold beside the weights.
struct ContextOptions {
  /// Tokens of the context, which all sequences share; it is rounded up. 0: as many as the model was trained for.
  /// Unset: chosen, as many as are useful and fit, and one request gets no more than the model was trained for.
  std::optional<std::uint32_t> tokens{};
  /// Tokens of one pass over a prompt (llama.cpp's ubatch). Unset: chosen. Tokens of an answer are bit for bit
  /// the same at every budget only where this is the same.
  std::optional<std::uint32_t> ubatch{};
  /// Requests that are computed at once, from 1 to 256. More may be submitted: they wait.
  std::uint32_t sequences = 1;
  /// Threads that compute, at least 1. Unset: as many as the process may use cores. More than can run are never used.
  std::optional<std::uint32_t> threads{};
};

/// What a session would do, known before a weight is read.
struct Plan {
  std::uint32_t context = 0;  ///< Tokens of the context.
  std::uint32_t ubatch = 0;   ///< Tokens of one pass over a prompt.
  Account account{};          ///< Its peak is unset.
  Bytes weights{};            ///< All weights of the model.
  Bytes streamed_per_pass{};  ///< Weights that are read from disk for every pass.
  std::vector<std::string> notes{};  ///< What was adapted to the budgets, one sentence each.
};

/// A model file whose header has been read and checked. A Model holds no weights, and never changes: copies share
/// their content. Threading: any thread.
class BRIMFUL_API Model {
 public:
  /// Opens a GGUF file; of a split model, its first file. Reads the header only.
  /// Errors: kNotFound, kIo; kInvalidArgument for a path that is no file, or a later part of a split model; kCorrupt
  /// for a header that breaks the format; kUnsupported.
  [[nodiscard]] static Result<Model> open(const std::filesystem::path& gguf);

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] const std::string& name() const;          ///< As the file says it, or the file's name.
  [[nodiscard]] const std::string& architecture() const;  ///< As llama.cpp calls it: `llama`, `qwen3moe`.
  [[nodiscard]] std::uint32_t layers() const;
  [[nodiscard]] std::uint64_t train_context() const;  ///< Tokens; 0 where the file does not say.
  [[nodiscard]] Bytes weights() const;                ///< Bytes of all weights.
  [[nodiscard]] bool has_chat_template() const;

  /// Plans a session with these budgets, and reads no weight. Blocks for as long as the vocabulary takes to load.
  /// Errors: kInfeasible where it does not fit: the message has the bytes that are missing and the smallest change
  /// that would fit; those of Session::start() but kBudgetExceeded.
  [[nodiscard]] Result<Plan> plan(const Budgets& budgets = {}, const ContextOptions& context = {}) const;

 private:
  friend class Session;
  struct Content;
  explicit Model(std::shared_ptr<const Content> content);
  std::shared_ptr<const Content> content_;
};

}  // namespace brimful

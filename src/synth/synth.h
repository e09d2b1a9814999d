#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "synth/core.h"
#include "synth/header.h"
#include "synth/shape.h"
#include "synth/tensors.h"
#include "synth/type.h"

namespace brimful::synth {

/// A made-up model: the shape of a known one, random weights, and a vocabulary that works.
struct SynthOptions {
  std::string like = "llama-7b";  ///< a name of synth_shapes()
  std::string type = "Q4_K";      ///< a name of synth_types()
  /// Types of single matrices, by the tensor's name; the others have `type`.
  std::map<std::string, ggml_type> types;
  std::string mix;  ///< what `types` is called, a part of the model's name; empty: `type` is that part
  std::optional<std::uint32_t> layers;
  std::optional<std::uint32_t> vocabulary;  ///< tokens
  std::optional<std::uint32_t> context;     ///< tokens
  std::optional<bool> tied;                 ///< the token embedding is the output matrix too
  std::uint32_t alignment = 32;             ///< bytes, a power of two
  std::uint32_t splits = 1;                 ///< files
  std::string router = "uniform";           ///< or "skewed": which experts are chosen
  std::uint64_t seed = 0;
  std::optional<std::filesystem::path> tokenizer_from;  ///< a GGUF to copy the tokenizer of
  std::optional<std::filesystem::path> around;          ///< a trained GGUF to put into its core: SynthCore
  float noise = 0.15F;        ///< how large what surrounds the core is, of what it is without one
  std::string chat_template;  ///< none where empty
};

/// A made-up model, laid out to the byte but not yet written.
struct SynthModel {
  std::uint64_t seed = 0;
  std::vector<SynthTensor> tensors;
  std::vector<SynthFile> files;
  std::vector<bool> control_tokens;  ///< by token
  std::shared_ptr<const SynthCore> core;

  [[nodiscard]] Bytes bytes() const;         ///< of all files, exactly
  [[nodiscard]] Bytes header_bytes() const;  ///< of these, the headers
};

/// Errors: kInvalidArgument: an option that cannot be; those of read_tokenizer.
/// Holds: the headers, a few MB with a large vocabulary.
[[nodiscard]] Result<SynthModel> design_synth(const SynthOptions& options);

/// Where a model of so many files goes: `output` itself, or `STEM-00001-of-0000N.gguf` and so on.
[[nodiscard]] std::vector<std::filesystem::path> split_paths(const std::filesystem::path& output,
                                                             std::size_t splits);

using SynthProgress = std::function<void(Bytes done)>;

/// Writes the model and returns its files. The same options and seed give the same bytes on every machine;
/// alignment and splits change where a tensor lies, not what is in it.
/// Errors: kInvalidArgument where a file exists and `replace` is false; kIo. No file is left behind.
/// Holds: 4 MiB a file being written, and a few MiB of weights. Blocks: on the disk.
[[nodiscard]] Result<std::vector<std::filesystem::path>> write_synth(const SynthModel& model,
                                                                     const std::filesystem::path& output,
                                                                     bool replace,
                                                                     const SynthProgress& progress);

/// Writes the files without their weights: read_model takes them with Weights::kMayBeMissing. Errors: those
/// of write_synth.
[[nodiscard]] Result<std::vector<std::filesystem::path>> write_synth_headers(
    const SynthModel& model, const std::filesystem::path& output, bool replace);

}  // namespace brimful::synth

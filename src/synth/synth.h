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
#include "synth/text.h"
#include "synth/type.h"

namespace brimful::synth {

/// The options for a made-up model: it has the shape of a known model, random weights, and a vocabulary that
/// works. Sizes that are unset come from the shape.
struct SynthOptions {
  /// The name of the shape, one of synth_shapes().
  std::string like = "llama-7b";
  /// The name of the weights' type, one of synth_types().
  std::string type = "Q4_K";
  /// The types of single matrices, by the tensor's name. All other matrices have `type`.
  std::map<std::string, ggml_type> types;
  /// A name for the mix of types in `types`, which becomes a part of the model's name. Empty: `type` is that
  /// part.
  std::string mix;
  std::optional<std::uint32_t> layers;
  /// The number of tokens in the vocabulary.
  std::optional<std::uint32_t> vocabulary;
  /// The context that the model claims to be trained with, in tokens.
  std::optional<std::uint32_t> context;
  /// Whether the token embedding serves as the output matrix, too.
  std::optional<bool> tied;
  /// The alignment of tensors in the file: bytes, a power of two from 32 on.
  std::uint32_t alignment = 32;
  /// The number of files.
  std::uint32_t splits = 1;
  /// The name of a SynthRouter: "uniform" or "skewed".
  std::string router = "uniform";
  /// With experts: the factor by which a token's own embedding is louder than usual. The louder it is, the
  /// less do layers change the state of a token, and the better is a router's choice known one layer before
  /// (docs/design-experts.md has numbers).
  float carry = 1;
  std::uint64_t seed = 0;
  /// A GGUF file whose tokenizer is copied.
  std::optional<std::filesystem::path> tokenizer_from;
  /// A trained GGUF model that becomes the core of this one (see SynthCore), and whose tokenizer is copied.
  std::optional<std::filesystem::path> around;
  /// With `around`: the factor by which the random numbers around the core are smaller than those of a model
  /// without a core.
  float noise = 0.15F;
  /// The text that the model writes. Unset: nobody knows it.
  std::optional<SynthText> text;
  /// The chat template; empty: none.
  std::string chat_template;
};

/// A made-up model, laid out to the byte but not yet written.
struct SynthModel {
  std::uint64_t seed = 0;
  std::vector<SynthTensor> tensors;
  std::vector<SynthFile> files;
  /// For each token of the vocabulary, whether it is a control token or the unknown token.
  std::vector<bool> control_tokens;
  /// The token that follows each token in every text. Empty when nobody knows it.
  std::vector<std::uint32_t> following;
  /// The token that the layers for further tokens predict behind each one. Empty when they have no output
  /// matrix of their own.
  std::vector<std::uint32_t> predicted;
  /// The trained model in its core; null when there is none.
  std::shared_ptr<const SynthCore> core;

  /// The size of all files together, exactly.
  [[nodiscard]] Bytes bytes() const;
  /// The size of all headers together.
  [[nodiscard]] Bytes header_bytes() const;
};

/// Lays out a model, and writes nothing.
/// Errors: kInvalidArgument for an option that cannot be; those of read_tokenizer and of SynthCore::open.
/// Holds: the headers, a few MB with a large vocabulary.
[[nodiscard]] Result<SynthModel> design_synth(const SynthOptions& options);

/// The paths of the files of a model in `splits` files: `output` itself when there is one, else
/// `STEM-00001-of-0000N.gguf` and so on. Pure.
[[nodiscard]] std::vector<std::filesystem::path> split_paths(const std::filesystem::path& output,
                                                             std::size_t splits);

/// Called while weights are written. `done` counts the bytes written so far, over all files.
using SynthProgress = std::function<void(Bytes done)>;

/// Writes the model and returns the paths of its files. The same options and seed give the same bytes on
/// every machine; alignment and splits change the place of a tensor and not its content. `progress` may be
/// empty.
/// Errors: kInvalidArgument when a file exists and `replace` is false; kIo. No file is left behind then.
/// Holds: 4 MiB for each file, and a few MiB of weights. Blocks: on the disk.
[[nodiscard]] Result<std::vector<std::filesystem::path>> write_synth(const SynthModel& model,
                                                                     const std::filesystem::path& output,
                                                                     bool replace,
                                                                     const SynthProgress& progress);

/// Writes the headers of the files without their weights. read_model takes them with Weights::kMayBeMissing.
/// Errors: those of write_synth.
[[nodiscard]] Result<std::vector<std::filesystem::path>> write_synth_headers(
    const SynthModel& model, const std::filesystem::path& output, bool replace);

}  // namespace brimful::synth

#include "synth/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>

#include "base/check.h"
#include "synth/output.h"
#include "synth/tokenizer.h"
#include "synth/weights.h"

namespace brimful::synth {
namespace {

constexpr std::uint32_t kMaxLayers = 512;  // The limit of llama.cpp.
constexpr std::uint32_t kMaxVocabulary = 1 << 20;
constexpr std::uint32_t kMaxContext = 1 << 27;
constexpr std::uint32_t kMaxAlignment = 1 << 20;

// Names in a layer that predicts further tokens: the matrix that joins the newest token with the hidden state
// before it, and the output matrix.
constexpr std::string_view kJoin = "nextn.eh_proj.weight";
constexpr std::string_view kPredictedOutput = "nextn.shared_head_head.weight";

Status check_range(std::string_view what, std::uint32_t value, std::uint32_t low, std::uint32_t high) {
  if (value >= low && value <= high) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is {}; it can be {} to {}", what, value, low, high));
}

Status check_sizes(const SynthShape& shape, const SynthOptions& options) {
  const std::uint32_t fewest = find_synth_design(shape.design).fewest_layers();
  BRIMFUL_TRY_VOID(check_range("the number of layers", shape.layers, fewest, kMaxLayers));
  BRIMFUL_TRY_VOID(check_range("the context", shape.context, 1, kMaxContext));
  BRIMFUL_TRY_VOID(check_range("the alignment", options.alignment, GGUF_DEFAULT_ALIGNMENT, kMaxAlignment));
  if (std::has_single_bit(options.alignment)) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("the alignment is {}; it must be a power of two", options.alignment));
}

Status check_carry(const SynthShape& shape, float carry) {
  if (carry == 1) return {};
  if (shape.experts == 0)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' has no experts, whose choice a louder embedding could tell", shape.name));
  if (carry >= 0.01F && carry <= 100) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} times as loud an embedding cannot be; choose 0.01 to 100", carry));
}

Status check_router(const SynthShape& shape, SynthRouter router) {
  if (router == SynthRouter::kUniform || shape.experts > 0) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' has no experts, so its router cannot be skewed", shape.name));
}

void add_model_keys(gguf_context* to, const SynthShape& shape, const std::string& type) {
  const SynthDesign& design = find_synth_design(shape.design);
  gguf_set_val_str(to, "general.architecture", std::string(design.architecture).c_str());
  // libllama handles some vocabularies by the name of the model, so the name must not be that of a real one.
  gguf_set_val_str(to, "general.name", fmt::format("synthetic {}", type).c_str());
  gguf_set_val_str(to, "general.description",
                   fmt::format("random weights in the shape of {}", shape.name).c_str());
  gguf_set_val_u32(to, "general.quantization_version", GGML_QNT_VERSION);
  add_synth_keys(to, design, shape);
}

/// Returns the tokenizer's keys: those of another model, or made-up ones for the shape's vocabulary.
Result<GgufPtr> make_tokenizer(const SynthShape& shape, const SynthOptions& options) {
  GgufPtr tokenizer(gguf_init_empty());
  if (const auto& from = options.around ? options.around : options.tokenizer_from) {
    BRIMFUL_TRY(tokenizer, read_tokenizer(*from));
    const std::uint32_t tokens = token_count(tokenizer.get());
    if (options.vocabulary.value_or(tokens) != tokens) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("the tokenizer of {} has {} tokens, not {}",
                                                           from->string(), tokens, *options.vocabulary));
    }
  } else {
    BRIMFUL_TRY_VOID(check_range("the vocabulary", shape.vocabulary, kMinSynthVocabulary, kMaxVocabulary));
    switch (find_synth_design(shape.design).tokenizer) {
      case SynthTokenizer::kSentencePiece: add_sentence_pieces(tokenizer.get(), shape.vocabulary); break;
      case SynthTokenizer::kWordPiece: add_word_pieces(tokenizer.get(), shape.vocabulary); break;
    }
  }
  if (!options.chat_template.empty()) {
    gguf_set_val_str(tokenizer.get(), "tokenizer.chat_template", options.chat_template.c_str());
  }
  return tokenizer;
}

/// Makes what the layers add to the hidden state zero. Everything costs what it costs otherwise.
void silence_layers(std::vector<SynthTensor>& tensors) {
  constexpr std::array<std::string_view, 4> kAdded{"attn_output.", "ffn_down", "ssm_out.", "attn_out."};
  for (SynthTensor& tensor : tensors) {
    const bool added = std::ranges::any_of(
        kAdded, [&](std::string_view name) { return tensor.name.find(name) != std::string::npos; });
    if (added) tensor.gain = tensor.mean = 0;
  }
}

/// Lets the layers that predict further tokens predict the text: of the newest token and the hidden state
/// before it, they use the token. An output matrix of their own makes some of their tokens wrong.
Status set_predicted_text(const SynthText& text, const SynthShape& shape, SynthModel& model) {
  bool predicts = false;
  std::vector<SynthTensor> heads;
  for (SynthTensor& tensor : model.tensors) {
    if (!tensor.name.ends_with(kJoin)) continue;
    predicts = true;
    tensor.fill = SynthFill::kFirstHalf;
    SynthTensor head = *std::ranges::find(model.tensors, "output.weight", &SynthTensor::name);
    head.name = tensor.name.substr(0, tensor.name.size() - kJoin.size()) + std::string(kPredictedOutput);
    heads.push_back(std::move(head));
  }
  if (text.head_errors == 0) return {};
  if (!predicts)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("'{}' has no layers that predict further tokens, so they make no errors", shape.name));
  SynthText wrong = text;
  wrong.errors = text.head_errors;
  // Other tokens than those after which the text itself has errors.
  BRIMFUL_TRY(model.predicted,
              following_tokens(wrong, model.control_tokens, synth_seed(model.seed, kPredictedOutput)));
  std::ranges::move(heads, std::back_inserter(model.tensors));
  return {};
}

/// Prepares the model for a text that is known.
Status set_text(const SynthText& text, const SynthShape& shape, SynthModel& model) {
  const auto output = std::ranges::find(model.tensors, "output.weight", &SynthTensor::name);
  if (output == model.tensors.end())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' needs an output matrix of its own to write a known text: add --untied",
                            shape.name));
  if (ggml_quantize_requires_imatrix(output->type))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: known text needs an importance matrix for it; choose another type",
                            ggml_type_name(output->type)));
  BRIMFUL_TRY(model.following, following_tokens(text, model.control_tokens, model.seed));
  silence_layers(model.tensors);
  return set_predicted_text(text, shape, model);
}

Result<SynthShape> resolve_shape(const SynthOptions& options) {
  BRIMFUL_TRY(SynthShape shape, find_synth_shape(options.like));
  shape.layers = options.layers.value_or(shape.layers);
  shape.vocabulary = options.vocabulary.value_or(shape.vocabulary);
  shape.context = options.context.value_or(shape.context);
  shape.tied = options.tied.value_or(shape.tied);
  return shape;
}

/// Writes tensors one after another. Each pool of weights is made when it is first needed.
class Writer {
 public:
  Writer(const SynthModel& model, const SynthProgress& progress) : model_(model), progress_(progress) {}

  Status write(OutputFile& out, const SynthFile& file) {
    BRIMFUL_TRY_VOID(out.append(file.header));
    std::uint64_t position = file.header.size();
    for (const SynthFile::Placed& placed : file.tensors) {
      BRIMFUL_TRY_VOID(out.append_zeros(placed.offset - position));
      BRIMFUL_TRY_VOID(write_tensor(out, model_.tensors[placed.tensor], placed.bytes.value));
      position = placed.offset + placed.bytes.value;
    }
    BRIMFUL_TRY_VOID(out.append_zeros(file.size.value - position));
    done_ += file.size - Bytes{position} + Bytes{file.header.size()};
    return out.finish();
  }

 private:
  Status write_tensor(OutputFile& out, const SynthTensor& tensor, std::uint64_t bytes) {
    if (tensor.corner) return write_around(out, tensor, bytes);
    if (tensor.fill == SynthFill::kVector) return write_vector(out, tensor);
    if (tensor.fill == SynthFill::kRouter) return write_router(out, tensor, bytes);
    if (tensor.fill == SynthFill::kFirstHalf) return write_first_half(out, tensor);
    if (tensor.name == "output.weight" && !model_.following.empty())
      return write_following(out, tensor, model_.following);
    if (tensor.name.ends_with(kPredictedOutput) && !model_.predicted.empty())
      return write_following(out, tensor, model_.predicted);
    const WeightPool& pool = pool_for(tensor);
    const std::size_t row_bytes = ggml_row_size(tensor.type, tensor.shape[0]);
    WeightStream stream(pool, row_bytes, bytes, synth_seed(model_.seed, tensor.name));
    if (tensor.name != "output.weight") return pour(out, stream, bytes);

    // Zero rows give control tokens the logit 0, so that text ends when a limit is reached and not by
    // chance.
    for (std::size_t row = 0; row < static_cast<std::size_t>(tensor.rows()); ++row) {
      const bool control = row < model_.control_tokens.size() && model_.control_tokens[row];
      BRIMFUL_TRY_VOID(control ? out.append_zeros(row_bytes) : pour(out, stream, row_bytes));
    }
    return {};
  }

  Status write_vector(OutputFile& out, const SynthTensor& tensor) {
    SynthRandom random(synth_seed(model_.seed, tensor.name));
    std::vector<float> values(static_cast<std::size_t>(tensor.shape[0] * tensor.rows()));
    for (float& value : values) value = tensor.mean + tensor.gain * random.normal();
    if (tensor.corner) BRIMFUL_TRY_VOID(model_.core->read_row(*tensor.corner, 0, values));
    return out.append(std::as_bytes(std::span(values)));
  }

  /// Writes random rows. In the rows with a trained part, the blocks that the trained part covers are
  /// quantised anew.
  Status write_around(OutputFile& out, const SynthTensor& tensor, std::uint64_t bytes) {
    if (tensor.fill == SynthFill::kVector) return write_vector(out, tensor);
    const SynthCorner& corner = *tensor.corner;
    const std::size_t row_bytes = ggml_row_size(tensor.type, tensor.shape[0]);
    const auto covered =
        static_cast<std::int64_t>(align_up(static_cast<std::uint64_t>(corner.row_length),
                                           static_cast<std::uint64_t>(ggml_blck_size(tensor.type))));
    WeightStream stream(pool_for(tensor), row_bytes, bytes, synth_seed(model_.seed, tensor.name));
    std::vector<std::byte> row(row_bytes);
    std::vector<float> values(static_cast<std::size_t>(covered));
    for (std::int64_t i = 0; i < tensor.rows(); ++i) {
      stream.next(row);
      if (i < corner.rows) {
        to_floats(tensor.type, row.data(), values);
        BRIMFUL_TRY_VOID(model_.core->read_row(corner, i, values));
        ggml_quantize_chunk(tensor.type, values.data(), row.data(), 0, 1, covered, nullptr);
      }
      BRIMFUL_TRY_VOID(out.append(row));
      done_ += Bytes{row_bytes};
      if (progress_) progress_(done_);
    }
    return {};
  }

  /// Writes the output matrix of a model whose text is known: the row of a token is the sum of the embeddings
  /// of all tokens that it follows in `following`.
  Status write_following(OutputFile& out, const SynthTensor& tensor,
                         const std::vector<std::uint32_t>& following) {
    const auto input = std::ranges::find(model_.tensors, "token_embd.weight", &SynthTensor::name);
    const std::size_t input_row = ggml_row_size(input->type, input->shape[0]);
    const auto tokens = static_cast<std::size_t>(tensor.rows());
    const std::uint64_t seed = synth_seed(model_.seed, input->name);
    WeightStream stream(pool_for(*input), input_row, input_row * tokens, seed);
    std::vector<std::byte> embeddings(input_row * tokens);
    stream.next(embeddings);
    std::vector<std::vector<std::size_t>> before(tokens);
    for (std::size_t token = 0; token < tokens; ++token) before[following[token]].push_back(token);
    std::vector<std::byte> row(ggml_row_size(tensor.type, tensor.shape[0]));
    std::vector<float> values(static_cast<std::size_t>(tensor.shape[0]));
    std::vector<float> embedding(values.size());
    for (const std::vector<std::size_t>& followed : before) {
      std::ranges::fill(values, 0.0F);
      for (const std::size_t token : followed) {
        to_floats(input->type, &embeddings[token * input_row], embedding);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] += embedding[i];
      }
      ggml_quantize_chunk(tensor.type, values.data(), row.data(), 0, 1, tensor.shape[0], nullptr);
      BRIMFUL_TRY_VOID(out.append(row));
      done_ += Bytes{row.size()};
    }
    return {};
  }

  Status write_first_half(OutputFile& out, const SynthTensor& tensor) {
    std::vector<std::byte> row(ggml_row_size(tensor.type, tensor.shape[0]));
    std::vector<float> values(static_cast<std::size_t>(tensor.shape[0]));
    for (std::int64_t i = 0; i < tensor.rows(); ++i) {
      std::ranges::fill(values, 0.0F);
      values[static_cast<std::size_t>(i)] = 1;
      ggml_quantize_chunk(tensor.type, values.data(), row.data(), 0, 1, tensor.shape[0], nullptr);
      BRIMFUL_TRY_VOID(out.append(row));
      done_ += Bytes{row.size()};
    }
    return {};
  }

  static void to_floats(ggml_type type, const std::byte* row, std::span<float> values) {
    const auto to_float = ggml_get_type_traits(type)->to_float;
    if (to_float != nullptr) {
      to_float(row, values.data(), static_cast<std::int64_t>(values.size()));
    } else {
      std::memcpy(values.data(), row, values.size() * sizeof(float));
    }
  }

  Status write_router(OutputFile& out, const SynthTensor& tensor, std::uint64_t bytes) {
    std::vector<float> row(static_cast<std::size_t>(tensor.shape[0]));
    const std::span<std::byte> row_bytes = std::as_writable_bytes(std::span(row));
    WeightStream stream(pool_for(tensor), row_bytes.size(), bytes, synth_seed(model_.seed, tensor.name));
    for (const float gain : tensor.row_gains) {
      stream.next(row_bytes);
      for (float& value : row) value *= gain;
      BRIMFUL_TRY_VOID(out.append(row_bytes));
    }
    return {};
  }

  Status pour(OutputFile& out, WeightStream& stream, std::uint64_t bytes) {
    while (bytes > 0) {
      std::span<std::byte> to = out.space();
      to = to.first(static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), bytes)));
      stream.next(to);
      BRIMFUL_TRY_VOID(out.commit(to.size()));
      bytes -= to.size();
      done_ += Bytes{to.size()};
      if (progress_) progress_(done_);
    }
    return {};
  }

  const WeightPool& pool_for(const SynthTensor& tensor) {
    const float deviation = tensor.gain / std::sqrt(static_cast<float>(tensor.shape[0]));
    const std::pair key(tensor.type, deviation);
    const auto found = pools_.find(key);
    if (found != pools_.end()) return found->second;
    return pools_.emplace(key, WeightPool(tensor.type, deviation, model_.seed)).first->second;
  }

  const SynthModel& model_;
  const SynthProgress& progress_;
  std::map<std::pair<ggml_type, float>, WeightPool> pools_;  // The pools by type and standard deviation.
  Bytes done_;
};

}  // namespace

Bytes SynthModel::bytes() const {
  Bytes total;
  for (const SynthFile& file : files) total += file.size;
  return total;
}

Bytes SynthModel::header_bytes() const {
  Bytes total;
  for (const SynthFile& file : files) total += Bytes{file.header.size()};
  return total;
}

Result<SynthModel> design_synth(const SynthOptions& options) {
  BRIMFUL_TRY(SynthShape shape, resolve_shape(options));
  BRIMFUL_TRY(const ggml_type type, find_synth_type(options.type));
  std::shared_ptr<const SynthCore> core;
  if (options.around && options.text)
    return fail(ErrorCode::kInvalidArgument,
                "--around and --text-period: a model writes one of two texts; choose one");
  if (options.around) {
    const bool needs_matrix = std::ranges::any_of(
        options.types, [](const auto& named) { return ggml_quantize_requires_imatrix(named.second); });
    if (needs_matrix || ggml_quantize_requires_imatrix(type)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--type {}: trained weights need an importance matrix for it", options.type));
    }
    BRIMFUL_TRY(SynthCore opened, SynthCore::open(*options.around));
    BRIMFUL_TRY(shape, opened.shape_around(shape));
    core = std::make_shared<const SynthCore>(std::move(opened));
  }
  BRIMFUL_TRY(const SynthRouter router, find_synth_router(options.router));
  BRIMFUL_TRY_VOID(check_sizes(shape, options));
  BRIMFUL_TRY_VOID(check_router(shape, router));
  BRIMFUL_TRY_VOID(check_carry(shape, options.carry));
  BRIMFUL_TRY(const GgufPtr tokenizer, make_tokenizer(shape, options));
  shape.vocabulary = token_count(tokenizer.get());
  const GgufPtr keys(gguf_init_empty());
  add_model_keys(keys.get(), shape, options.mix.empty() ? synth_type_name(type) : options.mix);
  gguf_set_kv(keys.get(), tokenizer.get());

  std::vector<SynthTensor> tensors = synth_tensors(shape, type, router, options.seed);
  if (const auto input = std::ranges::find(tensors, "token_embd.weight", &SynthTensor::name);
      input != tensors.end())
    input->gain *= options.carry;
  for (SynthTensor& tensor : tensors) {
    const auto named = options.types.find(tensor.name);
    if (named != options.types.end() && tensor.fill == SynthFill::kMatrix)
      tensor.type = type_for_rows(named->second, tensor.shape[0]);
  }
  if (core) core->put_into(tensors, shape, options.noise);
  const auto most_splits = static_cast<std::uint32_t>(std::min<std::size_t>(tensors.size(), 65535));
  BRIMFUL_TRY_VOID(check_range("the number of splits", options.splits, 1, most_splits));
  SynthModel model{.seed = options.seed,
                   .tensors = std::move(tensors),
                   .files = {},
                   .control_tokens = control_tokens(keys.get()),
                   .following = {},
                   .predicted = {},
                   .core = std::move(core)};
  if (options.text) BRIMFUL_TRY_VOID(set_text(*options.text, shape, model));
  model.files = lay_out_files(keys.get(), model.tensors, options.alignment, options.splits);
  return model;
}

std::vector<std::filesystem::path> split_paths(const std::filesystem::path& output, std::size_t splits) {
  if (splits == 1) return {output};
  const std::filesystem::path stem =
      output.extension() == ".gguf" ? output.parent_path() / output.stem() : output;
  std::vector<std::filesystem::path> paths;
  for (std::size_t i = 1; i <= splits; ++i) {
    paths.emplace_back(fmt::format("{}-{:05d}-of-{:05d}.gguf", stem.string(), i, splits));
  }
  return paths;
}

Result<std::vector<std::filesystem::path>> write_synth(const SynthModel& model,
                                                       const std::filesystem::path& output, bool replace,
                                                       const SynthProgress& progress) {
  std::vector<std::filesystem::path> paths = split_paths(output, model.files.size());
  // All files are created before the first one is written, so that a disk which is too small for all of them
  // is reported at once.
  std::vector<OutputFile> files;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    BRIMFUL_TRY(OutputFile file, OutputFile::create(paths[i], model.files[i].size, replace));
    files.push_back(std::move(file));
  }
  Writer writer(model, progress);
  for (std::size_t i = 0; i < files.size(); ++i) BRIMFUL_TRY_VOID(writer.write(files[i], model.files[i]));
  for (OutputFile& file : files) BRIMFUL_TRY_VOID(file.publish());
  return paths;
}

Result<std::vector<std::filesystem::path>> write_synth_headers(const SynthModel& model,
                                                               const std::filesystem::path& output,
                                                               bool replace) {
  std::vector<std::filesystem::path> paths = split_paths(output, model.files.size());
  std::vector<OutputFile> files;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const std::vector<std::byte>& header = model.files[i].header;
    BRIMFUL_TRY(OutputFile file, OutputFile::create(paths[i], Bytes{header.size()}, replace));
    BRIMFUL_TRY_VOID(file.append(header));
    BRIMFUL_TRY_VOID(file.finish());
    files.push_back(std::move(file));
  }
  for (OutputFile& file : files) BRIMFUL_TRY_VOID(file.publish());
  return paths;
}

}  // namespace brimful::synth

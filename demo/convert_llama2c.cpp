// Turns a llama2.c checkpoint into a GGUF file, with the tokenizer of another GGUF file.
//
//   brimful-convert-llama2c llama2.data --vocab ggml-vocab-llama-spm.gguf -o stories15M.gguf [--type Q8_0]
//
// A checkpoint is seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len) and then
// the weights in f32; bytes after them are ignored. llama2.c rotates neighbouring pairs of q and k, as GGUF's
// llama architecture does, so no matrix is permuted. A positive vocab_size says that the output matrix is the
// token embedding.

#include <fmt/format.h>
#include <ggml.h>
#include <gguf.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "synth/output.h"
#include "synth/tokenizer.h"
#include "synth/type.h"

namespace {

using namespace brimful;

constexpr float kRmsEpsilon = 1e-5F;
constexpr float kRopeBase = 10000.0F;
constexpr std::int64_t kMaxSize = 1 << 24;  // of any number in the header

struct Sizes {
  std::int64_t dim, hidden, layers, heads, kv_heads, vocabulary, context;
  bool shared_output;

  [[nodiscard]] std::int64_t head() const { return dim / heads; }
  [[nodiscard]] std::int64_t kv_dim() const { return head() * kv_heads; }
};

/// A tensor to write: `rows` of `row_length`; a vector where rows is 0.
struct Tensor {
  std::string name;
  std::int64_t row_length, rows;
  std::vector<float> values;
};

class Checkpoint {
 public:
  static Result<Checkpoint> open(const std::filesystem::path& path) {
    Checkpoint checkpoint;
    checkpoint.path_ = path;
    checkpoint.file_.open(path, std::ios::binary);
    if (!checkpoint.file_) return fail(ErrorCode::kIo, fmt::format("cannot open {}", path.string()));
    BRIMFUL_TRY_VOID(checkpoint.read_header());
    return checkpoint;
  }

  [[nodiscard]] const Sizes& sizes() const { return sizes_; }

  Result<std::vector<float>> read(std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    BRIMFUL_TRY_VOID(read_bytes(values.data(), values.size() * sizeof(float)));
    return values;
  }

 private:
  Status read_header() {
    std::array<std::int32_t, 7> header{};
    BRIMFUL_TRY_VOID(read_bytes(header.data(), sizeof(header)));
    for (const std::int32_t number : header) {
      if (number == 0 || std::abs(std::int64_t{number}) > kMaxSize) return not_a_checkpoint();
    }
    sizes_ = {.dim = header[0],
              .hidden = header[1],
              .layers = header[2],
              .heads = header[3],
              .kv_heads = header[4],
              .vocabulary = std::abs(header[5]),
              .context = header[6],
              .shared_output = header[5] > 0};
    const bool positive = sizes_.dim > 0 && sizes_.hidden > 0 && sizes_.layers > 0 && sizes_.heads > 0 &&
                          sizes_.kv_heads > 0 && sizes_.context > 0;
    if (!positive || sizes_.dim % sizes_.heads != 0 || sizes_.heads % sizes_.kv_heads != 0 ||
        sizes_.head() % 2 != 0) {
      return not_a_checkpoint();
    }
    return {};
  }

  [[nodiscard]] Status not_a_checkpoint() const {
    return fail(ErrorCode::kCorrupt, fmt::format("{} is not a llama2.c checkpoint", path_.string()));
  }

  Status read_bytes(void* to, std::size_t bytes) {
    file_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    if (file_) return {};
    return fail(ErrorCode::kCorrupt, fmt::format("{} ends too early", path_.string()));
  }

  std::filesystem::path path_;
  std::ifstream file_;
  Sizes sizes_{};
};

/// One tensor a layer, as llama2.c stores them: all layers of a kind together.
Status read_layers(Checkpoint& from, const std::string& name, std::int64_t row_length, std::int64_t rows,
                   std::vector<Tensor>& to) {
  for (std::int64_t layer = 0; layer < from.sizes().layers; ++layer) {
    BRIMFUL_TRY(std::vector<float> values, from.read(row_length * std::max<std::int64_t>(rows, 1)));
    to.push_back({fmt::format("blk.{}.{}.weight", layer, name), row_length, rows, std::move(values)});
  }
  return {};
}

Result<std::vector<Tensor>> read_tensors(Checkpoint& from) {
  const Sizes& s = from.sizes();
  std::vector<Tensor> to;
  BRIMFUL_TRY(std::vector<float> embedding, from.read(s.dim * s.vocabulary));
  to.push_back({"token_embd.weight", s.dim, s.vocabulary, std::move(embedding)});
  BRIMFUL_TRY_VOID(read_layers(from, "attn_norm", s.dim, 0, to));
  BRIMFUL_TRY_VOID(read_layers(from, "attn_q", s.dim, s.dim, to));
  BRIMFUL_TRY_VOID(read_layers(from, "attn_k", s.dim, s.kv_dim(), to));
  BRIMFUL_TRY_VOID(read_layers(from, "attn_v", s.dim, s.kv_dim(), to));
  BRIMFUL_TRY_VOID(read_layers(from, "attn_output", s.dim, s.dim, to));
  BRIMFUL_TRY_VOID(read_layers(from, "ffn_norm", s.dim, 0, to));
  BRIMFUL_TRY_VOID(read_layers(from, "ffn_gate", s.dim, s.hidden, to));
  BRIMFUL_TRY_VOID(read_layers(from, "ffn_down", s.hidden, s.dim, to));
  BRIMFUL_TRY_VOID(read_layers(from, "ffn_up", s.dim, s.hidden, to));
  BRIMFUL_TRY(std::vector<float> norm, from.read(s.dim));
  to.push_back({"output_norm.weight", s.dim, 0, std::move(norm)});
  if (s.shared_output) return to;
  BRIMFUL_TRY(const std::vector<float> rotations, from.read(s.context * s.head()));  // two tables nobody uses
  BRIMFUL_TRY(std::vector<float> output, from.read(s.dim * s.vocabulary));
  to.push_back({"output.weight", s.dim, s.vocabulary, std::move(output)});
  return to;
}

void add_keys(gguf_context* to, const Sizes& sizes, const std::string& name) {
  const auto set = [&](const char* key, std::int64_t value) {
    gguf_set_val_u32(to, key, static_cast<std::uint32_t>(value));
  };
  gguf_set_val_str(to, "general.architecture", "llama");
  gguf_set_val_str(to, "general.name", name.c_str());
  set("general.quantization_version", GGML_QNT_VERSION);
  set("llama.vocab_size", sizes.vocabulary);
  set("llama.context_length", sizes.context);
  set("llama.embedding_length", sizes.dim);
  set("llama.feed_forward_length", sizes.hidden);
  set("llama.block_count", sizes.layers);
  set("llama.attention.head_count", sizes.heads);
  set("llama.attention.head_count_kv", sizes.kv_heads);
  set("llama.rope.dimension_count", sizes.head());
  gguf_set_val_f32(to, "llama.attention.layer_norm_rms_epsilon", kRmsEpsilon);
  gguf_set_val_f32(to, "llama.rope.freq_base", kRopeBase);
}

/// The values in `type`, or as they are where rows are no whole number of the type's blocks.
std::vector<std::byte> encode(const Tensor& tensor, ggml_type& type) {
  if (tensor.rows == 0 || tensor.row_length % ggml_blck_size(type) != 0) type = GGML_TYPE_F32;
  const std::int64_t rows = std::max<std::int64_t>(tensor.rows, 1);
  const std::vector<float> importance(static_cast<std::size_t>(tensor.row_length), 1.0F);
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows) * ggml_row_size(type, tensor.row_length));
  ggml_quantize_chunk(type, tensor.values.data(), bytes.data(), 0, rows, tensor.row_length,
                      ggml_quantize_requires_imatrix(type) ? importance.data() : nullptr);
  return bytes;
}

Status write_file(const gguf_context* context, const std::vector<std::vector<std::byte>>& tensors,
                  const std::filesystem::path& path) {
  std::vector<std::byte> header(gguf_get_meta_size(context));
  gguf_get_meta_data(context, header.data());
  const std::size_t alignment = gguf_get_alignment(context);
  Bytes size{header.size()};
  for (const auto& tensor : tensors) size += Bytes{align_up(tensor.size(), alignment)};

  BRIMFUL_TRY(synth::OutputFile out, synth::OutputFile::create(path, size, true));
  BRIMFUL_TRY_VOID(out.append(header));
  for (const auto& tensor : tensors) {
    BRIMFUL_TRY_VOID(out.append(tensor));
    BRIMFUL_TRY_VOID(out.append_zeros(align_up(tensor.size(), alignment) - tensor.size()));
  }
  BRIMFUL_TRY_VOID(out.finish());
  return out.publish();
}

struct Arguments {
  std::filesystem::path checkpoint, vocabulary, output;
  std::string type = "F32";
};

Status convert(const Arguments& arguments) {
  BRIMFUL_TRY(const ggml_type wanted, synth::find_synth_type(arguments.type));
  BRIMFUL_TRY(const synth::GgufPtr tokenizer, synth::read_tokenizer(arguments.vocabulary));
  BRIMFUL_TRY(Checkpoint checkpoint, Checkpoint::open(arguments.checkpoint));
  if (checkpoint.sizes().vocabulary != synth::token_count(tokenizer.get())) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has {} tokens, and the checkpoint {}", arguments.vocabulary.string(),
                            synth::token_count(tokenizer.get()), checkpoint.sizes().vocabulary));
  }
  BRIMFUL_TRY(const std::vector<Tensor> tensors, read_tensors(checkpoint));

  const synth::GgufPtr context(gguf_init_empty());
  add_keys(context.get(), checkpoint.sizes(), arguments.output.stem().string());
  gguf_set_kv(context.get(), tokenizer.get());

  const std::unique_ptr<ggml_context, decltype(&ggml_free)> metadata(
      ggml_init(
          {.mem_size = ggml_tensor_overhead() * tensors.size(), .mem_buffer = nullptr, .no_alloc = true}),
      ggml_free);
  std::vector<std::vector<std::byte>> encoded;
  for (const Tensor& tensor : tensors) {
    ggml_type type = wanted;
    encoded.push_back(encode(tensor, type));
    const std::array<std::int64_t, 2> shape{tensor.row_length, tensor.rows};
    ggml_tensor* made = ggml_new_tensor(metadata.get(), type, tensor.rows == 0 ? 1 : 2, shape.data());
    ggml_set_name(made, tensor.name.c_str());
    gguf_add_tensor(context.get(), made);
  }
  return write_file(context.get(), encoded, arguments.output);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Turns a llama2.c checkpoint into a GGUF file"};
  app.add_option("checkpoint", arguments.checkpoint, "llama2.c checkpoint")->required();
  app.add_option("--vocab", arguments.vocabulary, "GGUF file to copy the tokenizer of")->required();
  app.add_option("-o,--output", arguments.output, "GGUF file to write")->required();
  app.add_option("--type", arguments.type, "Type of the matrices")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (const Status done = convert(arguments); !done) {
    fmt::print(stderr, "brimful: {}\n", done.error().message);
    return EXIT_FAILURE;
  }
}

#include "eval/importance_matrix.h"

#include <fmt/format.h>
#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <gguf.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>
#include <utility>

#include "base/replace_file.h"
#include "eval/checkpoint.h"

namespace brimful::eval {
namespace {

/// The name of a weight without what a scheduler has put around it (`CUDA0#blk.0.attn_k.weight#0`).
std::string plain_name(std::string_view name) {
  const std::size_t begin = name.find('#');
  if (begin == std::string_view::npos) return std::string(name);
  const std::string_view rest = name.substr(begin + 1);
  return std::string(rest.substr(0, rest.find('#')));
}

void add_squares(std::span<float> sums, const char* row) {
  const auto* const values = reinterpret_cast<const float*>(row);
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += values[i] * values[i];
}

bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

std::unexpected<Error> not_finite(const ggml_tensor& weight) {
  return fail(ErrorCode::kUnsupported,
              fmt::format("the inputs of {} are not finite numbers: the model is damaged, or overflows",
                          weight.name));
}

struct FreeGguf {
  void operator()(gguf_context* context) const { gguf_free(context); }
};

}  // namespace

engine::NodeObserver ImportanceMatrix::observer() { return {look, this}; }

std::optional<Error> ImportanceMatrix::take_error() { return std::exchange(error_, std::nullopt); }

bool ImportanceMatrix::look(ggml_tensor* node, bool ask, void* self) noexcept {
  auto& matrix = *static_cast<ImportanceMatrix*>(self);
  if (matrix.error_) return !ask;
  try {
    if (ask) return matrix.wants(*node);
    if (Status status = matrix.collect(*node); !status) matrix.error_ = std::move(status).error();
  } catch (const std::exception& thrown) {  // there is no memory for the sums
    matrix.error_ = Error{ErrorCode::kInternal, thrown.what()};
  }
  return true;
}

bool ImportanceMatrix::wants(const ggml_tensor& node) const {
  if (node.op == GGML_OP_MUL_MAT_ID) return true;
  if (node.op != GGML_OP_MUL_MAT) return false;
  const ggml_tensor& inputs = *node.src[1];
  if (inputs.ne[1] < kFewestTokens || inputs.type != GGML_TYPE_F32) return false;
  const std::string name = plain_name(node.src[0]->name);
  return name.starts_with("blk.") || (with_output_ && name == "output.weight");
}

Status ImportanceMatrix::collect(const ggml_tensor& node) {
  const ggml_tensor& inputs = *node.src[1];
  const char* data = static_cast<const char*>(inputs.data);
  if (!ggml_backend_buffer_is_host(inputs.buffer)) {
    copied_.resize(ggml_nbytes(&inputs));
    ggml_backend_tensor_get(&inputs, copied_.data(), 0, copied_.size());
    data = copied_.data();
  }
  if (inputs.nb[0] != sizeof(float) || inputs.type != GGML_TYPE_F32)
    return fail(ErrorCode::kUnsupported,
                fmt::format("the inputs of {} are no rows of 32-bit floats", node.src[0]->name));
  return node.op == GGML_OP_MUL_MAT_ID ? collect_experts(node, data) : collect_dense(node, data);
}

Result<ImportanceMatrix::Sums*> ImportanceMatrix::sums_of(const ggml_tensor& weight, std::int64_t matrices,
                                                          std::size_t counts) {
  Sums& sums = sums_[plain_name(weight.name)];
  const auto size = static_cast<std::size_t>(weight.ne[0] * matrices);
  if (sums.squares.empty()) {
    sums.squares.resize(size, 0.0F);
    sums.counts.resize(counts, 0);
  }
  // A matrix that is also used as experts has a count for each of them, and all of them count.
  if (sums.squares.size() == size && (sums.counts.size() == counts || counts == 1)) return &sums;
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("{} is used both as a matrix and as experts: this has no place in the file", weight.name));
}

Status ImportanceMatrix::collect_experts(const ggml_tensor& node, const char* inputs) {
  const ggml_tensor& in = *node.src[1];   // [columns, experts used or 1, tokens]
  const ggml_tensor& ids = *node.src[2];  // [experts used, tokens]
  const std::int64_t experts = node.src[0]->ne[2];
  if (ids.ne[1] != in.ne[2] || in.ne[3] != 1)
    return fail(ErrorCode::kUnsupported,
                fmt::format("the inputs of {} have an unknown shape", node.src[0]->name));
  ids_.resize(ggml_nbytes(&ids));
  ggml_backend_tensor_get(&ids, ids_.data(), 0, ids_.size());
  BRIMFUL_TRY(Sums* const sums, sums_of(*node.src[0], experts, static_cast<std::size_t>(experts)));
  const auto columns = static_cast<std::size_t>(in.ne[0]);
  const auto of_expert = [&](std::int64_t expert) {
    return std::span(sums->squares).subspan(static_cast<std::size_t>(expert) * columns, columns);
  };
  std::vector<bool> used(static_cast<std::size_t>(experts), false);
  for (std::int64_t nth = 0; nth < ids.ne[0]; ++nth) {
    for (std::int64_t token = 0; token < in.ne[2]; ++token) {
      std::int32_t expert = 0;
      std::memcpy(&expert,
                  ids_.data() + static_cast<std::size_t>(token) * ids.nb[1] +
                      static_cast<std::size_t>(nth) * ids.nb[0],
                  sizeof expert);
      if (expert < 0 || expert >= experts)
        return fail(ErrorCode::kInternal,
                    fmt::format("expert {} of {} does not exist", expert, node.src[0]->name));
      ++sums->counts[static_cast<std::size_t>(expert)];
      used[static_cast<std::size_t>(expert)] = true;
      add_squares(of_expert(expert), inputs + static_cast<std::size_t>(nth % in.ne[1]) * in.nb[1] +
                                         static_cast<std::size_t>(token) * in.nb[2]);
    }
  }
  for (std::int64_t expert = 0; expert < experts; ++expert) {
    if (used[static_cast<std::size_t>(expert)] && !all_finite(of_expert(expert)))
      return not_finite(*node.src[0]);
  }
  return {};
}

Status ImportanceMatrix::collect_dense(const ggml_tensor& node, const char* inputs) {
  const ggml_tensor& weight = *node.src[0];
  const ggml_tensor& in = *node.src[1];  // [columns, tokens, ...]
  const std::int64_t matrices = weight.ne[2] * weight.ne[3];
  BRIMFUL_TRY(Sums* const sums, sums_of(weight, matrices, 1));
  const auto columns = static_cast<std::size_t>(in.ne[0]);
  for (std::int64_t i3 = 0; i3 < in.ne[3]; ++i3) {
    for (std::int64_t i2 = 0; i2 < in.ne[2]; ++i2) {
      const std::int64_t matrix = (i3 % weight.ne[3]) * weight.ne[2] + i2 % weight.ne[2];
      const auto of_matrix =
          std::span(sums->squares).subspan(static_cast<std::size_t>(matrix) * columns, columns);
      for (std::int64_t token = 0; token < in.ne[1]; ++token)
        add_squares(of_matrix, inputs + static_cast<std::size_t>(token) * in.nb[1] +
                                   static_cast<std::size_t>(i2) * in.nb[2] +
                                   static_cast<std::size_t>(i3) * in.nb[3]);
    }
  }
  if (!all_finite(sums->squares)) return not_finite(weight);
  for (std::int64_t& count : sums->counts) count += ggml_nrows(&in) / matrices;
  return {};
}

Bytes ImportanceMatrix::memory(const model::ModelProfile& profile, std::uint32_t tokens, bool copies) {
  std::uint64_t bytes = 0;
  std::uint64_t widest = 0;
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (tensor.rows() <= 1) continue;
    const auto experts = static_cast<std::uint64_t>(tensor.shape[2] * tensor.shape[3]);
    const auto columns = static_cast<std::uint64_t>(tensor.shape[0]);
    constexpr std::uint64_t kOfEntry = 1024;  // names, nodes of the map, and the header of the file
    bytes += experts * (columns * sizeof(float) + sizeof(std::int64_t) + sizeof(float)) + kOfEntry;
    widest = std::max(widest, columns * sizeof(float));
  }
  const std::uint64_t inputs = copies ? widest * tokens * std::max(1U, profile.experts_used) : 0;
  // The state is written after each pass: the page cache has the old one and the new one then.
  return Bytes{3 * bytes + inputs + std::uint64_t{tokens} * profile.experts_used * 2 * sizeof(std::int32_t)};
}

std::size_t ImportanceMatrix::incomplete() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      sums_, [](const auto& of_name) { return std::ranges::count(of_name.second.counts, 0) > 0; }));
}

Status ImportanceMatrix::write(const std::filesystem::path& file, const std::string& text,
                               std::uint32_t chunk_tokens) const {
  std::int64_t most = 0;
  for (const auto& [name, sums] : sums_) most = std::max(most, std::ranges::max(sums.counts));
  const std::unique_ptr<gguf_context, FreeGguf> header(gguf_init_empty());
  gguf_set_val_str(header.get(), "general.type", "imatrix");
  const char* texts[] = {text.c_str()};
  gguf_set_arr_str(header.get(), "imatrix.datasets", texts, 1);
  gguf_set_val_u32(header.get(), "imatrix.chunk_count", static_cast<std::uint32_t>(most / chunk_tokens));
  gguf_set_val_u32(header.get(), "imatrix.chunk_size", chunk_tokens);
  const ggml_context_ptr context(ggml_init(
      {.mem_size = 2 * sums_.size() * ggml_tensor_overhead(), .mem_buffer = nullptr, .no_alloc = true}));
  const auto add = [&](const std::string& name, std::int64_t columns, std::int64_t rows) {
    ggml_tensor* const tensor = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, columns, rows);
    ggml_set_name(tensor, name.c_str());
    gguf_add_tensor(header.get(), tensor);
  };
  for (const auto& [name, sums] : sums_) {
    const auto matrices = static_cast<std::int64_t>(sums.counts.size());
    add(name + ".in_sum2", static_cast<std::int64_t>(sums.squares.size()) / matrices, matrices);
    add(name + ".counts", 1, matrices);
  }
  std::vector<char> bytes(gguf_get_meta_size(header.get()));
  gguf_get_meta_data(header.get(), bytes.data());
  const std::size_t alignment = gguf_get_alignment(header.get());
  return replace_file(std::filesystem::absolute(file), [&](std::ostream& out) {
    const auto put_padded = [&](std::span<const float> values) {
      put(out, values);
      const std::string padding(align_up(values.size_bytes(), alignment) - values.size_bytes(), '\0');
      out << padding;
    };
    put(out, bytes);
    for (const auto& [name, sums] : sums_) {
      put_padded(sums.squares);
      const std::vector<float> counts(sums.counts.begin(), sums.counts.end());
      put_padded(counts);
    }
  });
}

void ImportanceMatrix::save(std::ostream& out) const {
  const auto put_number = [&](std::uint64_t number) { put(out, std::span(&number, 1)); };
  put_number(sums_.size());
  for (const auto& [name, sums] : sums_) {
    put_number(name.size());
    put(out, name);
    put_number(sums.squares.size());
    put(out, sums.squares);
    put_number(sums.counts.size());
    put(out, sums.counts);
  }
}

bool ImportanceMatrix::load(std::istream& in) {
  sums_.clear();
  const std::istream::pos_type begin = in.tellg();
  const auto size = static_cast<std::uint64_t>(in.seekg(0, std::ios::end).tellg());  // no number is larger
  in.seekg(begin);
  bool right = static_cast<bool>(in);
  const auto number = [&](std::uint64_t most) {
    std::uint64_t value = 0;
    right = right && take(in, std::span(&value, 1)) && value <= most;
    return right ? static_cast<std::size_t>(value) : 0;
  };
  for (std::size_t left = number(size); right && left > 0; --left) {
    std::string name(number(GGML_MAX_NAME), '\0');
    right = right && take(in, name);
    Sums sums;
    sums.squares.resize(number(size / sizeof(float)));
    right = right && take(in, sums.squares);
    sums.counts.resize(number(size / sizeof(std::int64_t)));
    right = right && take(in, sums.counts) && !sums.counts.empty();
    sums_[name] = std::move(sums);
  }
  if (!right) sums_.clear();
  return right;
}

}  // namespace brimful::eval

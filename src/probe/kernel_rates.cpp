#include "probe/kernel_rates.h"

#include <fmt/format.h>
#include <ggml-cpu.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <vector>

#include "synth/type.h"
#include "tier/layout/file_order.h"

namespace brimful::probe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kLength = 4096;  // The length of a row, a multiple of the block size of every type.
constexpr std::int64_t kRows = 2048;
constexpr std::int64_t kShortLength = 1024;
// The space between the operands of the first graph and those of the second one.
constexpr Bytes kSecondGraph = Bytes{64} * kMiB.value;
constexpr std::uint32_t kPoll = 2;     // The same value as in the tier.
constexpr std::int64_t kRepacked = 3;  // So many matrices are rearranged; the others are copies of the first.
constexpr int kLeastRepetitions = 3;
constexpr std::chrono::milliseconds kMostTime{400};

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::vector<std::byte> some_bytes(std::size_t count) {
  std::mt19937 random(1);
  std::vector<std::byte> out(count);
  std::ranges::generate(out, [&] { return static_cast<std::byte>(random()); });
  return out;
}

std::vector<float> some_floats(std::size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  std::ranges::generate(out, [&] { return normal(random); });
  return out;
}

}  // namespace

/// A graph whose tensors lie one after the other from a given address on.
class KernelBench::Graph {
 public:
  Graph(std::byte* memory, std::size_t nodes)
      : memory_(memory),
        context_(ggml_init(
            {(4 * nodes + 16) * ggml_tensor_overhead() + ggml_graph_overhead_custom(4 * nodes + 8, false),
             nullptr, true})),
        graph_(ggml_new_graph_custom(context_, 4 * nodes + 8, false)) {}
  ~Graph() { ggml_free(context_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  [[nodiscard]] ggml_context* context() const { return context_; }
  [[nodiscard]] ggml_cgraph* get() const { return graph_; }

  ggml_tensor* place(ggml_tensor* tensor) {
    tensor->data = memory_;
    memory_ += align_up(ggml_nbytes(tensor), std::uint64_t{64});
    return tensor;
  }
  ggml_tensor* values(ggml_type type, std::int64_t a, std::int64_t b, std::int64_t c = 1) {
    ggml_tensor* const tensor = place(ggml_new_tensor_3d(context_, type, a, b, c));
    std::memset(tensor->data, 0, ggml_nbytes(tensor));
    if (type == GGML_TYPE_F32) {
      const std::vector<float> some = some_floats(static_cast<std::size_t>(a));
      for (std::int64_t row = 0; row < b * c; ++row)
        std::memcpy(static_cast<float*>(tensor->data) + row * a, some.data(), some.size() * sizeof(float));
    }
    return tensor;
  }
  ggml_tensor* node(ggml_tensor* tensor) {
    place(tensor);
    ggml_build_forward_expand(graph_, tensor);
    return tensor;
  }

 private:
  std::byte* memory_;
  ggml_context* context_;
  ggml_cgraph* graph_;
};

struct KernelBench::Products {
  std::unique_ptr<Graph> graph;
  double bytes = 0;  // The bytes of weights.
  double multiplications = 0;
  std::optional<double> repack_bytes_per_s;
};

Result<std::unique_ptr<KernelBench>> KernelBench::create(int threads, Bytes weights) {
  BRIMFUL_TRY(auto region, memory::Region::reserve(weights + kOperands));
  BRIMFUL_TRY_VOID(region.commit());
  std::unique_ptr<KernelBench> bench(new KernelBench(threads, weights, std::move(region)));
  ggml_backend_dev_t const cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  params.poll = kPoll;
  bench->pool_ = ggml_threadpool_new(&params);
  bench->backend_ = cpu == nullptr ? nullptr : ggml_backend_dev_init(cpu, nullptr);
  if (bench->pool_ == nullptr || bench->backend_ == nullptr)
    return fail(ErrorCode::kInternal,
                fmt::format("ggml's CPU device cannot be started with {} threads", threads));
  ggml_backend_cpu_set_threadpool(bench->backend_, bench->pool_);
  ggml_backend_cpu_set_n_threads(bench->backend_, threads);
  bench->layout_ = std::make_unique<tier::RepackedLayout>(cpu, threads);
  return bench;
}

KernelBench::KernelBench(int threads, Bytes weights, memory::Region region)
    : threads_(threads), weights_(weights), region_(std::move(region)) {}

KernelBench::~KernelBench() {
  layout_.reset();
  if (backend_ != nullptr) ggml_backend_free(backend_);
  if (pool_ != nullptr) ggml_threadpool_free(pool_);
}

/// Returns the mean time of each graph. The graphs are computed in turns over a longer time: a real run also
/// gets what the machine gives over seconds, and not its best moments.
Result<std::vector<double>> KernelBench::seconds(std::span<const Graph* const> graphs) const {
  std::vector<double> out(graphs.size());
  const auto compute_all = [&]() -> Status {
    for (std::size_t i = 0; i < graphs.size(); ++i) {
      const auto begin = Clock::now();
      if (ggml_backend_graph_compute(backend_, graphs[i]->get()) != GGML_STATUS_SUCCESS)
        return fail(ErrorCode::kInternal, "ggml cannot compute a graph of the probe");
      out[i] += seconds_since(begin);
    }
    return {};
  };
  BRIMFUL_TRY_VOID(compute_all());
  out.assign(out.size(), 0);
  const auto begin = Clock::now();
  int repetitions = 0;
  do {
    BRIMFUL_TRY_VOID(compute_all());
    ++repetitions;
  } while (Clock::now() - begin < (repetitions < kLeastRepetitions ? kMostTime : each_));
  for (double& sum : out) sum /= repetitions;
  return out;
}

Result<double> KernelBench::seconds(const Graph& graph) const {
  const Graph* const one[] = {&graph};
  BRIMFUL_TRY(const std::vector<double> took, seconds(one));
  return took.front();
}

/// Fills the memory with valid blocks of `type`. It repeats the same few rows.
void KernelBench::fill(ggml_type type, std::int64_t row, Bytes bytes) {
  constexpr std::int64_t kDistinct = 16;
  std::vector<std::byte> rows = some_bytes(ggml_row_size(type, row) * kDistinct);
  if (!synth::has_codebook(type)) {
    const std::vector<float> values = some_floats(static_cast<std::size_t>(kDistinct * row));
    ggml_quantize_chunk(type, values.data(), rows.data(), 0, kDistinct, row, nullptr);
  }
  for (std::uint64_t at = 0; at < bytes.value; at += rows.size())
    std::memcpy(region_.data() + at, rows.data(), std::min<std::uint64_t>(rows.size(), bytes.value - at));
}

/// Makes a graph of products with matrices of kLength * kRows weights. Matrices with short rows take the
/// place of those with long rows: both consist of whole blocks, and the time depends on nothing else.
Result<KernelBench::Products> KernelBench::products(ggml_type type, std::int64_t matrices,
                                                    std::int64_t columns, std::int64_t row, bool file_order) {
  Products out;
  const std::int64_t rows = kLength * kRows / row;
  const std::uint64_t matrix = ggml_row_size(type, kLength) * kRows;
  std::byte* const operands = region_.data() + weights_.value + (row == kLength ? 0 : kSecondGraph.value);
  out.graph = std::make_unique<Graph>(operands, static_cast<std::size_t>(matrices));
  Graph& graph = *out.graph;
  fill(type, row, Bytes{matrix * static_cast<std::uint64_t>(matrices)});
  ggml_tensor* const input = graph.values(GGML_TYPE_F32, row, columns);
  ggml_tensor* const result = ggml_new_tensor_2d(graph.context(), GGML_TYPE_F32, rows, columns);
  graph.place(result);
  std::vector<std::byte> scratch(layout_->scratch_bytes(ggml_row_size(type, row)).value);
  layout_->use_scratch(scratch.data(), Bytes{scratch.size()});
  std::vector<double> rearranging;  // The seconds for each matrix.
  for (std::int64_t i = 0; i < matrices; ++i) {
    ggml_tensor* const weight = ggml_new_tensor_2d(graph.context(), type, row, rows);
    weight->data = region_.data() + static_cast<std::uint64_t>(i) * matrix;
    ggml_tensor* const product = ggml_mul_mat(graph.context(), weight, input);
    product->data = result->data;
    if (!file_order && layout_->serves(product)) {
      layout_->dress(*weight);
      if (i < kRepacked) {
        const auto begin = Clock::now();
        if (!layout_->repack(backend_, *weight)) return fail(ErrorCode::kInternal, "ggml cannot repack rows");
        rearranging.push_back(seconds_since(begin));
      } else {
        std::memcpy(weight->data, region_.data(), matrix);  // All have the same values.
      }
    }
    ggml_build_forward_expand(graph.get(), product);
    out.bytes += static_cast<double>(matrix);
    out.multiplications += static_cast<double>(kLength * kRows * columns);
  }
  if (!rearranging.empty())
    out.repack_bytes_per_s = static_cast<double>(matrix) / median(std::move(rearranging));
  return out;
}

Result<hardware::KernelRate> KernelBench::measure(ggml_type type, std::chrono::milliseconds each) {
  each_ = each;
  hardware::KernelRate rate{.type = ggml_type_name(type)};
  const auto matrix = static_cast<std::int64_t>(ggml_row_size(type, kLength)) * kRows;
  const std::int64_t many = std::max<std::int64_t>(1, static_cast<std::int64_t>(weights_.value) / matrix);
  const auto share = [](const std::vector<double>& took) { return std::clamp(took[0] / took[1], 0.25, 1.0); };
  {
    BRIMFUL_TRY(const Products one, products(type, many, 1, kLength));
    BRIMFUL_TRY(const Products shorter, products(type, many, 1, kShortLength));
    const Graph* const both[] = {one.graph.get(), shorter.graph.get()};
    BRIMFUL_TRY(const std::vector<double> took, seconds(both));
    rate.decode_bytes_per_s = one.bytes / took[0];
    rate.repack_bytes_per_s = one.repack_bytes_per_s;
    rate.short_rows_decode = share(took);
  }
  if (rate.repack_bytes_per_s) {
    BRIMFUL_TRY(const Products one, products(type, many, 1, kLength, true));
    BRIMFUL_TRY(const double took, seconds(*one.graph));
    rate.file_order_decode_bytes_per_s = one.bytes / took;
    if (layout_->turns_back(type)) rate.turn_back_bytes_per_s = turn_back_rate(type);
  }
  {
    const std::int64_t some = std::min<std::int64_t>(many, 4);
    BRIMFUL_TRY(const Products batch, products(type, some, 32, kLength));
    BRIMFUL_TRY(const Products shorter, products(type, some, 32, kShortLength));
    const Graph* const both[] = {batch.graph.get(), shorter.graph.get()};
    BRIMFUL_TRY(const std::vector<double> took, seconds(both));
    rate.batch_multiplications_per_s = batch.multiplications / took[0];
    rate.short_rows_batch = share(took);
  }
  {
    BRIMFUL_TRY(const Products prompt, products(type, 1, 512, kLength));
    BRIMFUL_TRY(const double took, seconds(*prompt.graph));
    rate.prompt_multiplications_per_s = prompt.multiplications / took;
  }
  constexpr std::int64_t kUsed = 8;
  const std::int64_t experts = many * 4;  // Each expert has a quarter of a matrix.
  BRIMFUL_TRY(const double one_by_one,
              expert_rate(type, {.experts = experts, .used = kUsed, .tokens = 1, .nodes = experts / kUsed}));
  rate.expert_decode_bytes_per_s = one_by_one * static_cast<double>(matrix) / (kLength * kRows);
  BRIMFUL_TRY(rate.expert_multiplications_per_s,
              expert_rate(type, {.experts = 16, .used = kUsed, .tokens = 32, .nodes = 1}));
  return rate;
}

/// Returns bytes per second of one thread, through buffers like those that weights are sent from.
double KernelBench::turn_back_rate(ggml_type type) {
  constexpr std::uint64_t kPiece = 2ULL << 20;
  constexpr std::uint64_t kBuffers = 4;
  const std::uint64_t row_bytes = ggml_row_size(type, kLength);
  const std::uint64_t whole = weights_.value / (tier::kInterleavedRows * row_bytes);
  const std::uint64_t pieces = whole * tier::kInterleavedRows * row_bytes / kPiece;
  std::byte* const buffers = region_.data() + weights_.value;
  std::uint64_t done = 0;
  const auto turn_one = [&] {
    const std::uint64_t begin = done % pieces * kPiece;
    tier::turn_back({type, row_bytes, region_.data()}, begin, kPiece, buffers + done % kBuffers * kPiece);
    ++done;
  };
  for (std::uint64_t i = 0; i < kBuffers; ++i) turn_one();
  done = 0;
  const auto begin = Clock::now();
  do {
    turn_one();
  } while (done < pieces || Clock::now() - begin < each_);
  return static_cast<double>(done * kPiece) / seconds_since(begin);
}

/// Returns multiply-adds per second. Each node uses the next experts, so that no token finds its experts in
/// a cache.
Result<double> KernelBench::expert_rate(ggml_type type, const Experts& shape) {
  constexpr std::int64_t kExpertRows = 512;
  const std::int64_t chosen = shape.used * shape.tokens;
  Graph graph(region_.data() + weights_.value, static_cast<std::size_t>(shape.nodes) * 2 + 2);
  ggml_tensor* const weight = ggml_new_tensor_3d(graph.context(), type, kLength, kExpertRows, shape.experts);
  weight->data = region_.data();
  fill(type, kLength, Bytes{ggml_nbytes(weight)});
  ggml_tensor* const input = graph.values(GGML_TYPE_F32, kLength, 1, shape.tokens);
  ggml_tensor* const result =
      graph.place(ggml_new_tensor_3d(graph.context(), GGML_TYPE_F32, kExpertRows, shape.used, shape.tokens));
  for (std::int64_t n = 0; n < shape.nodes; ++n) {
    ggml_tensor* const ids = graph.values(GGML_TYPE_I32, shape.used, shape.tokens);
    for (std::int64_t i = 0; i < chosen; ++i)
      static_cast<std::int32_t*>(ids->data)[i] = static_cast<std::int32_t>((n * chosen + i) % shape.experts);
    ggml_tensor* const product = ggml_mul_mat_id(graph.context(), weight, input, ids);
    product->data = result->data;
    // Any bytes of the type are good enough, so they are not rearranged.
    if (n == 0 && layout_->serves(product)) layout_->dress(*weight);
    ggml_build_forward_expand(graph.get(), product);
  }
  BRIMFUL_TRY(const double took, seconds(graph));
  return static_cast<double>(kLength * kExpertRows * chosen * shape.nodes) / took;
}

Result<double> KernelBench::decode_while(ggml_type type, const std::function<bool()>& go_on) {
  const auto matrix = static_cast<std::int64_t>(ggml_row_size(type, kLength)) * kRows;
  BRIMFUL_TRY(const Products one,
              products(type, static_cast<std::int64_t>(weights_.value) / matrix, 1, kLength));
  double passes = 0;
  const auto begin = Clock::now();
  do {
    if (ggml_backend_graph_compute(backend_, one.graph->get()) != GGML_STATUS_SUCCESS)
      return fail(ErrorCode::kInternal, "ggml cannot compute a graph of the probe");
    ++passes;
  } while (go_on());
  return passes * one.bytes / seconds_since(begin);
}

/// Returns multiply-adds per second. The cache has libllama's layout: the heads of a cell lie side by side.
Result<double> KernelBench::attention_rate(ggml_type cache, std::int64_t head, std::int64_t tokens) {
  constexpr std::int64_t kHeads = 32;
  constexpr std::int64_t kKeyHeads = 8;
  constexpr std::int64_t kCells = 1024;
  const std::int64_t layers = tokens == 1 ? 16 : 1;
  Graph graph(region_.data(), static_cast<std::size_t>(layers) * 3);
  ggml_tensor* const query = graph.values(GGML_TYPE_F32, head, tokens, kHeads);
  ggml_tensor* const mask = graph.values(GGML_TYPE_F16, kCells, tokens);
  const auto by_heads = [&] {
    ggml_tensor* const cells = graph.values(cache, head, kKeyHeads, kCells);
    return ggml_permute(graph.context(), cells, 0, 2, 1, 3);
  };
  for (std::int64_t i = 0; i < layers; ++i) {
    ggml_tensor* const keys = by_heads();
    ggml_tensor* const values = by_heads();
    graph.node(ggml_flash_attn_ext(graph.context(), query, keys, values, mask, 0.1F, 0, 0));
  }
  BRIMFUL_TRY(const double took, seconds(graph));
  return static_cast<double>(layers * tokens * kHeads * kCells * 2 * head) / took;
}

Result<hardware::Attention> KernelBench::attention(ggml_type cache) {
  hardware::Attention out;
  BRIMFUL_TRY(out.decode_multiplications_per_s, attention_rate(cache, 128, 1));
  BRIMFUL_TRY(out.prompt_multiplications_per_s, attention_rate(cache, 128, 512));
  BRIMFUL_TRY(const double short_heads, attention_rate(cache, 64, 1));
  out.share_of_short_heads = std::clamp(short_heads / out.decode_multiplications_per_s, 0.05, 1.0);
  return out;
}

Status KernelBench::measure_rest(hardware::Compute& compute) {
  compute.threads = threads_;
  BRIMFUL_TRY(compute.attention, attention(GGML_TYPE_F16));
  BRIMFUL_TRY(compute.quantised_attention, attention(GGML_TYPE_Q8_0));
  {
    constexpr std::int64_t kNodes = 512;
    Graph graph(region_.data(), kNodes);
    ggml_tensor* const some = graph.values(GGML_TYPE_F32, 256, 1);
    ggml_tensor* sum = some;
    for (std::int64_t i = 0; i < kNodes; ++i) sum = graph.node(ggml_add(graph.context(), sum, some));
    BRIMFUL_TRY(const double took, seconds(graph));
    compute.seconds_per_node = took / kNodes;
  }
  {
    constexpr std::int64_t kNodes = 9;
    Graph graph(region_.data(), kNodes);
    ggml_tensor* const some = graph.values(GGML_TYPE_F32, kLength, 512);
    ggml_tensor* chain = some;
    for (std::int64_t i = 0; i < kNodes; i += 3) {
      chain = graph.node(ggml_rms_norm(graph.context(), chain, 1e-5F));
      chain = graph.node(ggml_silu(graph.context(), chain));
      chain = graph.node(ggml_add(graph.context(), chain, some));
    }
    BRIMFUL_TRY(const double took, seconds(graph));
    const double moved = static_cast<double>(ggml_nbytes(some)) * (2 + 2 + 3) * kNodes / 3;
    compute.element_bytes_per_s = moved / took;
  }
  Graph graph(region_.data(), 1);
  ggml_tensor* const some = graph.values(GGML_TYPE_F32, 256, 1);
  graph.node(ggml_add(graph.context(), some, some));
  BRIMFUL_TRY(const double took, seconds(graph));
  compute.seconds_per_segment = std::max(took - compute.seconds_per_node, 0.0);
  return {};
}

}  // namespace brimful::probe

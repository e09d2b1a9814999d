#include "tier/gpu/gpu_rows.h"

#include <fmt/format.h>
#include <ggml-backend-impl.h>
#include <ggml-impl.h>

#include <algorithm>
#include <cstring>

#include "tier/gpu/copy_queue.h"

namespace brimful::tier {
namespace {

// Largest number of products in a group.
constexpr std::size_t kMostProducts = 8;
// Nodes and leaves of the graph of a group: each product has a node, a weight and an input.
constexpr std::size_t kGraphSize = 4 * kMostProducts;
// The same where each column is on its own: it has a node and an input.
constexpr std::size_t kColumns = kMostProducts * static_cast<std::size_t>(plan::kMostColumnsOfRows);
constexpr std::size_t kColumnsGraphSize = 4 * kColumns;
// Unit: bytes. Alignment of slots in the ring.
constexpr std::uint64_t kSlotAlignment = 256;
// Heap for one divided matrix: two shadows and a segment of the compiled pass, and this class's own. An
// estimate.
constexpr Bytes kHeapOfMatrix{4 << 10};

std::size_t columns_bytes() {
  return 2 * kColumns * ggml_tensor_overhead() + ggml_graph_overhead_custom(kColumnsGraphSize, false);
}

void set_columns(ggml_tensor& tensor, std::int64_t columns) {
  tensor.ne[1] = columns;
  tensor.nb[2] = tensor.nb[3] = tensor.nb[1] * static_cast<std::size_t>(columns);
}

}  // namespace

Bytes GpuRows::host_bytes(const model::ModelProfile& profile, std::span<const plan::DeviceRows> rows) {
  if (rows.empty()) return {};
  return plan::row_buffers(profile, rows).total() + kHeapOfMatrix * rows.size() + Bytes{columns_bytes()};
}

Result<std::unique_ptr<GpuRows>> GpuRows::create(const WeightTable& table,
                                                 std::span<const plan::DeviceRows> rows, Place place,
                                                 PassStream& stream, ggml_backend_dev_t device,
                                                 ggml_backend_t const& backend) {
  std::unique_ptr<GpuRows> out(new GpuRows(table, rows, place, stream, device, backend));
  BRIMFUL_TRY(out->staging_, memory::Region::reserve(out->buffers_.total()));
  BRIMFUL_TRY_VOID(out->staging_.commit());
  return out;
}

GpuRows::GpuRows(const WeightTable& table, std::span<const plan::DeviceRows> rows, Place place,
                 PassStream& stream, ggml_backend_dev_t device, ggml_backend_t const& backend)
    : table_(table),
      place_(place),
      buffers_(plan::row_buffers(table.profile(), rows)),
      stream_(stream),
      device_(device),
      backend_(backend),
      context_(
          ggml_init({3 * rows.size() * ggml_tensor_overhead() + ggml_graph_overhead_custom(kGraphSize, false),
                     nullptr, true})),
      graph_(ggml_new_graph_custom(context_.get(), kGraphSize, false)),
      columns_(ggml_init({columns_bytes(), nullptr, true})),
      known_(table.profile().tensors.size()) {
  auto* const base = static_cast<std::byte*>(place_.ring->data);
  for (const auto& [index, first_row] : rows) {
    const model::TensorInfo& info = table_.profile().tensors[index];
    Matrix matrix{.tensor = index, .first_row = first_row};
    matrix.weight = ggml_new_tensor_2d(context_.get(), info.type, info.shape[0], info.rows() - first_row);
    matrix.input = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, info.shape[0], 1);
    matrix.product = ggml_mul_mat(context_.get(), matrix.weight, matrix.input);
    ggml_set_name(matrix.weight, info.name.c_str());
    ggml_format_name(matrix.product, "rows of %s", info.name.c_str());
    for (ggml_tensor* const tensor : {matrix.weight, matrix.input, matrix.product}) {
      tensor->buffer = place_.ring->buffer;
      tensor->data = base;
    }
    matrix.input->data = base + place_.buffers;
    matrix.padding =
        ggml_backend_buft_get_alloc_size(ggml_backend_buffer_get_type(place_.ring->buffer), matrix.weight) -
        ggml_nbytes(matrix.weight);
    set_columns(*matrix.input, plan::kMostColumnsOfRows);
    set_columns(*matrix.product, plan::kMostColumnsOfRows);
    if (!ggml_backend_dev_supports_op(device_, matrix.product)) continue;
    zeros_.resize(std::max(zeros_.size(), matrix.padding));
    known_[index] = matrices_.size();
    matrices_.push_back(matrix);
  }
}

GpuRows::~GpuRows() { abandon(); }

StreamEntry GpuRows::entry_of(const Matrix& matrix) const {
  const model::TensorInfo& info = table_.profile().tensors[matrix.tensor];
  return {.file = info.file,
          .offset = info.offset + static_cast<std::uint64_t>(matrix.first_row) * info.row_bytes().value,
          .span = ggml_nbytes(matrix.weight),
          .padding = matrix.padding};
}

std::optional<std::int64_t> GpuRows::first_row(const ggml_tensor& node, std::uint32_t weight) const {
  const auto known = known_[weight];
  if (!known) return std::nullopt;
  const ggml_tensor& input = *node.src[1];
  const bool plain = node.ne[1] <= plan::kMostColumnsOfRows && node.ne[2] == 1 && node.ne[3] == 1 &&
                     node.nb[0] == sizeof(float) && input.type == GGML_TYPE_F32 &&
                     input.nb[0] == sizeof(float) && input.ne[2] == 1 && input.ne[3] == 1;
  return plain ? std::optional(matrices_[*known].first_row) : std::nullopt;
}

Status GpuRows::begin(std::span<const RowProduct> products) {
  choose_in_this_thread(device_);
  of_graph_ = products;
  products_.clear();
  groups_.clear();
  std::vector<StreamEntry> entries;
  for (std::size_t i = 0; i < products.size(); ++i) {
    products_.push_back({.matrix = &matrices_[*known_[products[i].weight]]});
    entries.push_back(entry_of(*products_[i].matrix));
    group(i, entries[i]);
  }
  begun_ = true;
  return stream_.begin(entries);
}

/// Puts product `i` into the newest group, or into a new one: where its input is another one, and where the
/// ring or the buffer has no room for one more.
void GpuRows::group(std::size_t i, const StreamEntry& entry) {
  Product& product = products_[i];
  const Bytes slot{align_up(entry.span + entry.padding, kSlotAlignment)};
  const Bytes result{
      align_up(ggml_row_size(GGML_TYPE_F32, product.matrix->weight->ne[1] * of_graph_[i].node->ne[1]),
               kSlotAlignment)};
  const bool fits = !groups_.empty() && of_graph_[i].node->src[1] == of_graph_[i - 1].node->src[1] &&
                    i - groups_.back().begin < kMostProducts &&
                    groups_.back().results + result <= buffers_.results &&
                    // Where the ring wraps, it may waste as much as the largest slot.
                    in_ring_ + slot + std::max(largest_in_ring_, slot) <= Bytes{place_.buffers};
  if (!fits) {
    groups_.push_back({.begin = i, .end = i});
    in_ring_ = largest_in_ring_ = {};
  }
  Group& group = groups_.back();
  product.group = groups_.size() - 1;
  product.result = group.results.value;
  group.end = i + 1;
  group.results += result;
  in_ring_ += slot;
  largest_in_ring_ = std::max(largest_in_ring_, slot);
}

Status GpuRows::start(std::size_t i) {
  const std::size_t number = products_[i].group;
  Group& group = groups_[number];
  if (group.begin != i) return {};
  // The group before has the same input, and is not finished: this one follows it.
  if (number > 0 && !groups_[number - 1].fetched) return {};
  // The host may write to the input before the device has it.
  const ggml_tensor& input = *of_graph_[i].node->src[1];
  const std::size_t row = static_cast<std::size_t>(input.ne[0]) * sizeof(float);
  for (std::size_t column = 0; column < static_cast<std::size_t>(input.ne[1]); ++column)
    std::memcpy(staging_.data() + column * row, static_cast<std::byte*>(input.data) + column * input.nb[1],
                row);
  send_input(group);
  return stream_.ready(group.end) ? launch(group) : Status{};
}

/// Queues the copy of the input that lies in the staging memory.
void GpuRows::send_input(Group& group) {
  const std::int64_t columns = of_graph_[group.begin].node->ne[1];
  for (std::size_t i = group.begin; i < group.end; ++i) {
    const Matrix& matrix = *products_[i].matrix;
    set_columns(*matrix.input, columns);
    set_columns(*matrix.product, columns);
    std::memcpy(matrix.product->op_params, of_graph_[i].node->op_params, sizeof matrix.product->op_params);
  }
  ggml_backend_tensor_set_async(backend_, place_.ring, staging_.data(), place_.buffers,
                                ggml_nbytes(products_[group.begin].matrix->input));
  group.started = true;
}

/// Queues the products of a group, once their weights are in the ring.
Status GpuRows::launch(Group& group) {
  BRIMFUL_TRY_VOID(stream_.wait(group.end));
  const std::size_t results = place_.buffers + buffers_.inputs.value;
  const bool by_columns = of_graph_[group.begin].by_columns;
  ggml_cgraph* graph = graph_;
  if (by_columns) {
    ggml_reset(columns_.get());
    graph = ggml_new_graph_custom(columns_.get(), kColumnsGraphSize, false);
  }
  ggml_graph_clear(graph);
  for (std::size_t i = group.begin; i < group.end; ++i) {
    const Matrix& matrix = *products_[i].matrix;
    matrix.weight->data = stream_.slot(i);
    matrix.product->data = static_cast<std::byte*>(place_.ring->data) + results + products_[i].result;
    clear_padding(i);
    if (by_columns) {
      add_columns(i, graph);
    } else {
      ggml_build_forward_expand(graph, matrix.product);
    }
  }
  const ggml_status status = ggml_backend_graph_compute_async(backend_, graph);
  if (status != GGML_STATUS_SUCCESS) {
    return fail(ErrorCode::kInternal,
                fmt::format("{} could not multiply rows of '{}': {}", ggml_backend_name(backend_),
                            products_[group.begin].matrix->weight->name, ggml_status_to_string(status)));
  }
  group.launched = true;
  return {};
}

/// Adds the columns of product `i` to the graph, each in the shape of a single token.
void GpuRows::add_columns(std::size_t i, ggml_cgraph* graph) {
  const Matrix& matrix = *products_[i].matrix;
  for (std::int64_t column = 0; column < of_graph_[i].node->ne[1]; ++column) {
    ggml_tensor* const input = ggml_new_tensor_2d(columns_.get(), GGML_TYPE_F32, matrix.input->ne[0], 1);
    ggml_tensor* const product = ggml_mul_mat(columns_.get(), matrix.weight, input);
    const auto at = [column](const ggml_tensor& all) {
      return static_cast<std::byte*>(all.data) + static_cast<std::size_t>(column) * all.nb[1];
    };
    input->buffer = product->buffer = place_.ring->buffer;
    input->data = at(*matrix.input);
    product->data = at(*matrix.product);
    std::memcpy(product->op_params, matrix.product->op_params, sizeof product->op_params);
    ggml_build_forward_expand(graph, product);
  }
}

/// Queues zeros behind the rows of product `i`, where the device wants some.
void GpuRows::clear_padding(std::size_t i) {
  const Matrix& matrix = *products_[i].matrix;
  if (matrix.padding == 0) return;
  const auto slot = static_cast<std::size_t>(stream_.slot(i) - static_cast<std::byte*>(place_.ring->data));
  ggml_backend_tensor_set_async(backend_, place_.ring, zeros_.data(), slot + ggml_nbytes(matrix.weight),
                                matrix.padding);
}

Status GpuRows::finish(std::size_t i) {
  Group& group = groups_[products_[i].group];
  std::byte* const results = staging_.data() + buffers_.inputs.value;
  if (!group.fetched) {
    if (!group.started) send_input(group);
    if (!group.launched) BRIMFUL_TRY_VOID(launch(group));
    ggml_backend_tensor_get_async(backend_, place_.ring, results, place_.buffers + buffers_.inputs.value,
                                  group.results.value);
    ggml_backend_synchronize(backend_);
    group.fetched = true;
    stream_.release(group.end);
  }
  const RowProduct& product = of_graph_[i];
  const auto row = static_cast<std::size_t>(products_[i].matrix->weight->ne[1]) * sizeof(float);
  const auto columns = static_cast<std::size_t>(product.node->ne[1]);
  auto* const target = static_cast<std::byte*>(product.node->data) +
                       static_cast<std::size_t>(product.first_row) * sizeof(float);
  for (std::size_t column = 0; column < columns; ++column)
    std::memcpy(target + column * product.node->nb[1], results + products_[i].result + column * row, row);
  return {};
}

void GpuRows::end() {
  begun_ = false;
  stream_.end();
}

void GpuRows::abandon() {
  if (!std::exchange(begun_, false)) return;
  ggml_backend_synchronize(backend_);
  stream_.abandon();
}

}  // namespace brimful::tier

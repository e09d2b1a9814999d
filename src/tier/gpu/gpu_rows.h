#pragma once

#include <ggml-cpp.h>

#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "memory/region.h"
#include "plan/device_rows.h"
#include "tier/host/row_device.h"
#include "tier/stream/pass_stream.h"
#include "tier/weights/weight_table.h"

namespace brimful::tier {

/// The rows of the host's matrices that one GPU multiplies: they cross the link into the ring, ahead of the
/// computation, while the cores multiply the other rows. Products that follow one another with the same input
/// are one group: one copy of the input, one graph, one copy of the results, one wait.
/// Threading: as RowDevice.
class GpuRows final : public RowDevice {
 public:
  /// Where things lie on the device.
  struct Place {
    /// A tensor of bytes that covers the ring and the buffers behind it.
    ggml_tensor* ring = nullptr;
    /// Offset of the buffers: plan::row_buffers().inputs, then plan::row_buffers().results.
    std::size_t buffers = 0;
  };

  /// `stream` sends to the first Place::buffers bytes of the ring. `backend` is the inner backend of the
  /// newest context; it is looked up when a graph begins. A matrix is divided only while all of it is
  /// resident on the host. Everything must outlive this object. Errors: kBudgetExceeded, for host memory.
  [[nodiscard]] static Result<std::unique_ptr<GpuRows>> create(const WeightTable& table,
                                                               std::span<const plan::DeviceRows> rows,
                                                               Place place, PassStream& stream,
                                                               ggml_backend_dev_t device,
                                                               ggml_backend_t const& backend);
  ~GpuRows() override;

  /// Host memory that create() takes, and that these rows add to a compiled pass.
  [[nodiscard]] static Bytes host_bytes(const model::ModelProfile& profile,
                                        std::span<const plan::DeviceRows> rows);

  [[nodiscard]] std::optional<std::int64_t> first_row(const ggml_tensor& node,
                                                      std::uint32_t weight) const override;
  [[nodiscard]] Status begin(std::span<const RowProduct> products) override;
  [[nodiscard]] Status start(std::size_t i) override;
  [[nodiscard]] Status finish(std::size_t i) override;
  void end() override;
  void abandon() override;

 private:
  // Rows of one matrix, and the product with them. The device knows the nodes of a product again by their
  // addresses, so they are kept.
  struct Matrix {
    std::uint32_t tensor = 0;
    std::int64_t first_row = 0;
    // The rows that are sent: [row length, rows].
    ggml_tensor* weight = nullptr;
    // [row length, columns].
    ggml_tensor* input = nullptr;
    // [rows, columns].
    ggml_tensor* product = nullptr;
    // Bytes behind the rows that the device wants to be zero.
    std::size_t padding = 0;
  };
  // Products [begin, end) of the graph. One group at a time is on the device.
  struct Group {
    std::size_t begin = 0;
    std::size_t end = 0;
    Bytes results;
    // Whether the input is on its way to the device, the graph is queued, and the results are on the host.
    bool started = false;
    bool launched = false;
    bool fetched = false;
  };
  // A product of the graph.
  struct Product {
    Matrix* matrix = nullptr;
    std::size_t group = 0;
    // Offset of its results from those of the group.
    std::size_t result = 0;
  };

  GpuRows(const WeightTable& table, std::span<const plan::DeviceRows> rows, Place place, PassStream& stream,
          ggml_backend_dev_t device, ggml_backend_t const& backend);

  [[nodiscard]] StreamEntry entry_of(const Matrix& matrix) const;
  void group(std::size_t i, const StreamEntry& entry);
  void send_input(Group& group);
  [[nodiscard]] Status launch(Group& group);
  void add_columns(std::size_t i, ggml_cgraph* graph);
  void clear_padding(std::size_t i);

  const WeightTable& table_;
  const Place place_;
  const plan::RowBuffers buffers_;
  PassStream& stream_;
  ggml_backend_dev_t const device_;
  ggml_backend_t const& backend_;
  ggml_context_ptr context_;
  // Has room for the products of one group.
  ggml_cgraph* graph_ = nullptr;
  // Has room for the columns of one group, each on its own, and their graph.
  ggml_context_ptr columns_;
  std::vector<Matrix> matrices_;
  // Indexed by tensor: index into matrices_.
  std::vector<std::optional<std::size_t>> known_;
  // Zeros for what is padded behind the rows.
  std::vector<std::byte> zeros_;
  // Inputs on their way to the device, then results from it.
  memory::Region staging_;

  // The graph that has begun.
  std::span<const RowProduct> of_graph_;
  std::vector<Product> products_;
  std::vector<Group> groups_;
  // Sizes of the newest group in the ring, with padding.
  Bytes in_ring_;
  Bytes largest_in_ring_;
  bool begun_ = false;
};

}  // namespace brimful::tier

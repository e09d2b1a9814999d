// Which tensors a launch works on. CUDA's functions get bare addresses; how many bytes lie there only ggml
// knows. The plug-in asks ggml_is_empty() about each node before it computes it: that call is led past here,
// and the node and its sources are noted.
#pragma once

#include <cstdint>
#include <optional>

namespace stand_in {

struct Extent {
  std::uint64_t bytes = 0;
  std::int64_t matrices = 0;
  std::uint64_t matrix_stride = 0;
};
/// The tensor that begins at this address, as the node that is computed now or an earlier one names it;
/// nothing where no tensor begins.
std::optional<Extent> tensor_at(std::uint64_t address);

/// The numbers by which a product chooses its matrices (MUL_MAT_ID).
struct Choices {
  std::uint64_t begin = 0;
  std::int64_t per_token = 0;
  std::int64_t tokens = 0;
  std::uint64_t token_stride = 0;
  std::int64_t matrices = 0;
};
/// The choices of the node that is computed now, if it is such a product.
std::optional<Choices> choices_of_node();
/// The same, but only the first call for a node gets them.
std::optional<Choices> choices_of_new_node();

/// Leads the plug-in's calls past here; ends the process where there is no such plug-in or no such call.
void watch_plug_in();

}  // namespace stand_in

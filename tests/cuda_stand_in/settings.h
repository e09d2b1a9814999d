// What the cards of the stand-in are like, and what happens to them.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace stand_in {

inline constexpr int kMostCards = 8;

/// Read once from the file `settings` in the folder that the variable CUDA_STAND_IN names. Each line is a
/// name, a space and a number; the defaults are about those of an RTX 3060. Bytes where nothing else is said.
struct Settings {
  std::string folder;
  std::uint64_t cards = 1;
  std::uint64_t capability = 86;
  /// Memory of each card.
  std::uint64_t total = 12884901888;
  /// What a driver's context takes.
  std::uint64_t context = 167772160;
  /// What a kernel takes from its first use on, as CUDA loads kernels when they are needed.
  std::uint64_t kernel = 65536;
  std::uint64_t stream = 65536;
  /// What a handle of cuBLAS takes, beside the workspace that ggml gives to it.
  std::uint64_t blas = 33554432;
  /// What each node of an executable graph takes.
  std::uint64_t graph_node = 1024;
  /// The budget of this program on each card; 0: none. `budget0`, `budget1` in the file.
  std::array<std::uint64_t, kMostCards> budget{};
  /// Another program takes so many bytes of the card `other_card` when this program allocates for the
  /// `other_at`th time.
  std::uint64_t other_bytes = 0, other_card = 0, other_at = 0;
  /// The allocation that fails, counted from 1; 0: none.
  std::uint64_t fail_at = 0;
};

/// Ends the process where the variable or the file is missing: without them nothing could be asserted.
const Settings& settings();

}  // namespace stand_in

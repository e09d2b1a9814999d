#pragma once

#include <ggml.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace brimful::tests {

/// The parts of an adapter's file, to be written whole or broken.
struct AdapterFile {
  struct Tensor {
    std::string name;
    std::array<std::int64_t, 3> shape{1, 1, 1};
    ggml_type type = GGML_TYPE_F32;
  };
  std::vector<std::pair<std::string, std::string>> keys;
  std::vector<Tensor> tensors;

  /// Random F32 numbers, zeros in other types. Fails the test where it cannot.
  void write(const std::filesystem::path& to, std::uint64_t seed) const;
};

/// A LoRA adapter of rank 4 for the matrices of a model's layers, experts among them, and its token
/// embedding.
[[nodiscard]] AdapterFile lora_for(const std::filesystem::path& model);

/// A direction for each layer but the first two.
[[nodiscard]] AdapterFile control_vector_for(const std::filesystem::path& model);

}  // namespace brimful::tests

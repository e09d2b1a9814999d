#pragma once

#include <ggml.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace brimful::tests {

/// The content of an adapter's GGUF file. A test can change it before it is written, to get a broken file.
struct AdapterFile {
  struct Tensor {
    std::string name;
    std::array<std::int64_t, 3> shape{1, 1, 1};
    ggml_type type = GGML_TYPE_F32;
  };
  std::vector<std::pair<std::string, std::string>> keys;
  std::vector<Tensor> tensors;

  /// Writes the file. F32 tensors get random numbers, others zeros. The test fails when the file cannot be
  /// written.
  void write(const std::filesystem::path& to, std::uint64_t seed) const;
};

/// Makes a LoRA adapter of rank 4 for the matrices of a model's layers, experts included, and for its token
/// embedding.
[[nodiscard]] AdapterFile lora_for(const std::filesystem::path& model);

/// Makes a control vector with a direction for each layer except the first two.
[[nodiscard]] AdapterFile control_vector_for(const std::filesystem::path& model);

}  // namespace brimful::tests

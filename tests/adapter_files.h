#pragma once

#include <cstdint>
#include <filesystem>

namespace strata::tests {

/// Writes a random LoRA adapter of rank 4 for the matrices of a model's layers, experts among them.
/// Fails the test where it cannot.
void write_lora(const std::filesystem::path& model, const std::filesystem::path& to, std::uint64_t seed);

}  // namespace strata::tests

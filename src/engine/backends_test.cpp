#include "engine/backends.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::engine {
namespace {

using ::testing::StartsWith;

constexpr std::string_view kAbsent = ": cannot open shared object file: No such file or directory";

TEST(AdviceOnBackend, NamesWhatIsMissing) {
  const auto advice = [](std::string_view library) {
    return advice_on_backend(std::string(library) + std::string(kAbsent));
  };
  EXPECT_EQ(advice("libcuda.so.1"), "NVIDIA's driver is missing: install it, or remove this file");
  EXPECT_THAT(advice("libcudart.so.13"), StartsWith("CUDA's libraries are missing: install the version"));
  EXPECT_THAT(advice("libcublas.so.13"), StartsWith("CUDA's libraries are missing: install the version"));
  EXPECT_THAT(advice("libamdhip64.so.6"), StartsWith("AMD's ROCm is missing"));
  EXPECT_THAT(advice("libvulkan.so.1"), StartsWith("Vulkan's loader is missing"));
}

TEST(AdviceOnBackend, OfAnotherReasonIsGeneral) {
  EXPECT_EQ(advice_on_backend("file too short"), "remove it, or check that the GPU's driver is installed");
}

}  // namespace
}  // namespace brimful::engine

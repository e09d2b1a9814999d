// Whole models on a real GPU backend of ggml, or on Mesa's Vulkan driver for the CPU, as a plug-in.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "engine/backends.h"
#include "engine/engine.h"
#include "program_run.h"
#include "synth_model.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kSteps = 12;
constexpr std::uint32_t kContext = 512;

/// Returns the first device of the plug-ins that the environment names; null when it names none.
ggml_backend_dev_t plugged_in() {
  const char* const folder = std::getenv("BRIMFUL_TEST_BACK_ENDS");
  if (folder == nullptr) return nullptr;
  EXPECT_THAT(engine::load_back_ends(folder), IsEmpty());
  const std::vector<ggml_backend_dev_t> devices = tier::gpu_devices();
  EXPECT_FALSE(devices.empty()) << "no device in " << folder;
  return devices.empty() ? nullptr : devices.front();
}

/// Plain llama.cpp, all layers on the device.
Trace plain(ggml_backend_dev_t device, const std::filesystem::path& path) {
  std::array<ggml_backend_dev_t, 2> devices{device, nullptr};
  llama_model_params params = llama_model_default_params();
  params.devices = devices.data();
  params.n_gpu_layers = 999;
  params.use_extra_bufts = false;
  const ModelPtr model(llama_model_load_from_file(path.c_str(), params));
  if (model == nullptr) return {};
  llama_context_params shape = llama_context_default_params();
  shape.n_ctx = kContext;
  shape.n_ubatch = 128;
  shape.n_threads = shape.n_threads_batch = 2;
  const ContextPtr context(llama_init_from_model(model.get(), shape));
  return context == nullptr ? Trace{} : trace(context.get(), some_tokens(context.get(), 200), kSteps);
}

TEST(BackEnd, ComputesAsPlainLlamaCppDoesThere) {
  ggml_backend_dev_t const device = plugged_in();
  if (device == nullptr) GTEST_SKIP() << "no GPU back end: scripts/test --vulkan builds one and tests it";
  for (const char* like : {"llama", "qwen3", "gemma3"}) {
    SCOPED_TRACE(like);
    const TemporaryDirectory directory;
    const auto path = synth_model(directory, {.like = like, .type = "Q8_0"});
    const Trace expected = plain(device, path);
    ASSERT_FALSE(expected.tokens.empty());
    auto engine = engine::Engine::open(
        {.model = path, .ram = kGiB * 2, .threads = 2, .threads_batch = 2, .offload = {{device, kGiB}}});
    ASSERT_TRUE(engine) << engine.error().message;
    const Status prepared = (*engine)->prepare({.context = kContext, .ubatch = 128});
    ASSERT_TRUE(prepared) << prepared.error().message;
    const Status started = (*engine)->start({});
    ASSERT_TRUE(started) << started.error().message;
    const plan::DeviceShare share = (*engine)->devices().front().share;
    EXPECT_EQ(share.layers, (*engine)->profile().layers) << "all of it is there";
    EXPECT_LE(share.peak(), kGiB);
    const Trace got = trace((*engine)->context(), some_tokens((*engine)->context(), 200), kSteps);
    EXPECT_EQ(got.tokens, expected.tokens);
    EXPECT_TRUE(got == expected) << "not bit for bit";
  }
}

TEST(BackEnd, EachThatCannotBeLoadedIsNamed) {
  const TemporaryDirectory folder;
  std::ofstream(folder.path() / "libggml-broken.so") << "no library";
  std::ofstream(folder.path() / "libggml-torn.so") << "none either";
  std::ofstream(folder.path() / "notes.txt") << "no plug-in";
  EXPECT_THAT(engine::load_back_ends(folder.path()),
              ElementsAre(HasSubstr("libggml-broken.so: this backend cannot be used here"),
                          HasSubstr("libggml-torn.so: this backend cannot be used here")));
  EXPECT_THAT(engine::load_back_ends(folder.path() / "absent"), IsEmpty());
}

}  // namespace
}  // namespace brimful::tests

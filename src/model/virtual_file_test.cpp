#include "model/virtual_file.h"

#include <gguf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llama.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>

#include "model/gguf_test_file.h"
#include "model/header_file.h"

namespace brimful::model {
namespace {

namespace fs = std::filesystem;
using testing::add_model;
using ::testing::HasSubstr;
using testing::small_model;
using testing::TestFile;

struct GgufDeleter {
  void operator()(gguf_context* gguf) const { gguf_free(gguf); }
};
struct LlamaDeleter {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
using LlamaModel = std::unique_ptr<llama_model, LlamaDeleter>;

class VirtualFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    dir_ = fs::temp_directory_path() / ("brimful-virtual-" + std::to_string(::getpid()) + "-" + info->name());
    fs::create_directories(dir_);
    llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  }
  void TearDown() override {
    llama_log_set(nullptr, nullptr);
    fs::remove_all(dir_);
  }
  fs::path path(const std::string& name = "model.gguf") const { return dir_ / name; }

  FilePtr open(const fs::path& file, Weights weights = Weights::kRequired) {
    const auto profile = read_model(file, weights);
    EXPECT_TRUE(profile) << profile.error().message;
    auto stream = open_virtual_file(*profile);
    EXPECT_TRUE(stream) << stream.error().message;
    return std::move(*stream);
  }

  fs::path dir_;
};

std::vector<std::byte> contents(const fs::path& file) {
  std::vector<std::byte> bytes(fs::file_size(file));
  std::ifstream(file, std::ios::binary)
      .read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

std::size_t resident_bytes() {
  std::size_t total = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * 4096;
}

TEST_F(VirtualFileTest, HasTheHeaderAndTheSizeOfTheFile) {
  small_model().write(path());
  const auto real = contents(path());
  const FilePtr stream = open(path());
  ASSERT_EQ(std::fseek(stream.get(), 0, SEEK_END), 0);
  EXPECT_EQ(std::ftell(stream.get()), static_cast<long>(real.size()));
  ASSERT_EQ(std::fseek(stream.get(), 0, SEEK_SET), 0);
  const std::uint64_t header = read_model(path())->tensors[0].offset;
  std::vector<std::byte> got(header);
  ASSERT_EQ(std::fread(got.data(), 1, got.size(), stream.get()), got.size());
  EXPECT_TRUE(std::equal(got.begin(), got.end(), real.begin()));
  EXPECT_EQ(std::ftell(stream.get()), static_cast<long>(header));
}

TEST_F(VirtualFileTest, HasTheSizeOfTheWholeFileWithoutItsWeights) {
  for (const std::uint32_t alignment : {1U, 32U, 4096U}) {
    TestFile file;
    file.alignment = alignment;
    add_model(file).u32("general.alignment", alignment).write(path("whole.gguf"));
    file.write(path("cut.gguf"));
    fs::resize_file(path("cut.gguf"), file.header().size());
    const FilePtr whole = open(path("whole.gguf"));
    const FilePtr cut = open(path("cut.gguf"), Weights::kMayBeMissing);
    const std::uint64_t header = read_model(path("whole.gguf"))->tensors[0].offset;
    std::vector<std::byte> expected(header);
    std::vector<std::byte> got(header);
    ASSERT_EQ(std::fread(expected.data(), 1, header, whole.get()), header);
    ASSERT_EQ(std::fread(got.data(), 1, header, cut.get()), header);
    EXPECT_EQ(got, expected);
    ASSERT_EQ(std::fseek(cut.get(), 0, SEEK_END), 0);
    EXPECT_EQ(std::ftell(cut.get()), static_cast<long>(read_header(path("whole.gguf"))->header.end()));
    ASSERT_EQ(std::fseek(cut.get(), static_cast<long>(header), SEEK_SET), 0);
    EXPECT_EQ(std::fgetc(cut.get()), EOF);
  }
}

TEST_F(VirtualFileTest, SeeksAndReadsTheHeaderLikeAFile) {
  small_model().write(path());
  const auto real = contents(path());
  const FilePtr stream = open(path());
  std::array<std::byte, 8> got{};
  for (const long where : {4L, 100L, 1L, 50L}) {
    ASSERT_EQ(std::fseek(stream.get(), where, SEEK_SET), 0);
    EXPECT_EQ(std::ftell(stream.get()), where);
    ASSERT_EQ(std::fread(got.data(), 1, got.size(), stream.get()), got.size());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), real.begin() + where));
    EXPECT_EQ(std::ftell(stream.get()), where + 8);
    ASSERT_EQ(std::fseek(stream.get(), -8, SEEK_CUR), 0);
    EXPECT_EQ(std::ftell(stream.get()), where);
  }
  EXPECT_NE(std::fseek(stream.get(), -1, SEEK_SET), 0);
}

class AlignedFileTest : public VirtualFileTest, public ::testing::WithParamInterface<std::uint32_t> {};

TEST_P(AlignedFileTest, SeeksToTensorDataArriveAtTheEnd) {
  TestFile file;
  file.alignment = GetParam();
  add_model(file).u32("general.alignment", GetParam()).write(path());
  const auto size = static_cast<long>(fs::file_size(path()));
  const FilePtr stream = open(path());
  const auto expect_at_end = [&] {
    EXPECT_EQ(std::ftell(stream.get()), size);
    std::byte got{};
    EXPECT_EQ(std::fread(&got, 1, 1, stream.get()), 0U);
    EXPECT_EQ(std::ferror(stream.get()), 0);
  };
  const auto profile = read_model(path());
  for (const TensorInfo& tensor : profile->tensors) {
    ASSERT_EQ(std::fseek(stream.get(), static_cast<long>(tensor.offset), SEEK_SET), 0);
    expect_at_end();
    ASSERT_EQ(std::fseek(stream.get(), static_cast<long>(tensor.offset + tensor.bytes.value - 1), SEEK_SET),
              0);
    expect_at_end();
  }
  ASSERT_EQ(std::fseek(stream.get(), -3, SEEK_END), 0);
  expect_at_end();
  ASSERT_EQ(std::fseek(stream.get(), 1000, SEEK_END), 0);
  expect_at_end();
  ASSERT_EQ(std::fseek(stream.get(), 0, SEEK_SET), 0);
  EXPECT_EQ(std::fgetc(stream.get()), 'G');
}

INSTANTIATE_TEST_SUITE_P(Alignments, AlignedFileTest, ::testing::Values(1, 2, 8, 32, 64, 4096, 65536));

TEST_F(VirtualFileTest, AReadAcrossTheEndOfTheHeaderGivesOnlyTheHeader) {
  small_model().write(path());
  const auto real = contents(path());
  const auto header = static_cast<long>(read_model(path())->tensors[0].offset);
  const FilePtr stream = open(path());
  std::vector<std::byte> got(600, std::byte{0xAB});
  ASSERT_EQ(std::fseek(stream.get(), header - 100, SEEK_SET), 0);
  ASSERT_EQ(std::fread(got.data(), 1, got.size(), stream.get()), 100U);
  EXPECT_TRUE(std::equal(got.begin(), got.begin() + 100, real.begin() + header - 100));
  EXPECT_TRUE(std::all_of(got.begin() + 100, got.end(), [](std::byte b) { return b == std::byte{0xAB}; }));
}

TEST_F(VirtualFileTest, RefusesAFileThatChanged) {
  small_model().write(path());
  const auto profile = read_model(path());
  small_model().u32("more", 1).write(path("new"));
  fs::rename(path("new"), path());
  const auto stream = open_virtual_file(*profile);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::kIo);
  EXPECT_THAT(stream.error().message, HasSubstr("model was replaced"));
}

/// The sizes of a llama model with f16 matrices.
struct Sizes {
  std::int64_t embedding = 64;
  std::int64_t feed_forward = 128;
  int layers = 2;
};

TestFile llama_keys(const Sizes& sizes) {
  TestFile file;
  file.text("general.architecture", "llama").u32("llama.context_length", 128);
  file.u32("llama.block_count", static_cast<std::uint32_t>(sizes.layers));
  file.u32("llama.embedding_length", static_cast<std::uint32_t>(sizes.embedding));
  file.u32("llama.feed_forward_length", static_cast<std::uint32_t>(sizes.feed_forward));
  file.u32("llama.attention.head_count", 4).f32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  file.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "a"});
  file.numbers<float>("tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, {0, 0, 0, -1});
  file.numbers<std::int32_t>("tokenizer.ggml.token_type", GGUF_TYPE_INT32, {2, 3, 3, 1});
  return file;
}

void add_layer(TestFile& file, const Sizes& sizes, int layer) {
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  const std::int64_t n = sizes.embedding;
  file.tensor(prefix + "attn_norm.weight", {n}).tensor(prefix + "ffn_norm.weight", {n});
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
    file.tensor(prefix + name + ".weight", {n, n}, GGML_TYPE_F16);
  }
  file.tensor(prefix + "ffn_gate.weight", {n, sizes.feed_forward}, GGML_TYPE_F16);
  file.tensor(prefix + "ffn_up.weight", {n, sizes.feed_forward}, GGML_TYPE_F16);
  file.tensor(prefix + "ffn_down.weight", {sizes.feed_forward, n}, GGML_TYPE_F16);
}

void add_ends(TestFile& file, const Sizes& sizes) {
  file.tensor("token_embd.weight", {sizes.embedding, 4}).tensor("output_norm.weight", {sizes.embedding});
}

LlamaModel load(std::FILE* stream) {
  llama_model_params params = llama_model_default_params();
  params.load_mode = LLAMA_LOAD_MODE_NONE;
  params.n_gpu_layers = 0;
  params.use_extra_bufts = false;
  return LlamaModel(llama_model_load_from_file_ptr(stream, params));
}

TEST_F(VirtualFileTest, LibllamaLoadsItAndTouchesNoWeight) {
  const Sizes sizes{.embedding = 2048, .feed_forward = 8192, .layers = 8};  // 1.1 GB
  TestFile file = llama_keys(sizes);
  add_ends(file, sizes);
  for (int i = 0; i < sizes.layers; ++i) add_layer(file, sizes, i);
  const auto header = file.header();
  std::ofstream(path(), std::ios::binary)
      .write(reinterpret_cast<const char*>(header.data()), static_cast<std::streamsize>(header.size()));
  fs::resize_file(path(), std::uint64_t{1200} << 20);
  const FilePtr stream = open(path());
  load(open(path()).get());  // The first load makes the allocations that libllama keeps.
  const std::size_t before = resident_bytes();
  const LlamaModel model = load(stream.get());
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(llama_model_n_layer(model.get()), 8);
  EXPECT_LT(resident_bytes(), before + (std::size_t{8} << 20));
}

TEST_F(VirtualFileTest, LibllamaLoadsAModelWithoutWeights) {
  const Sizes sizes;
  TestFile file = llama_keys(sizes);
  add_ends(file, sizes);
  for (int i = 0; i < sizes.layers; ++i) add_layer(file, sizes, i);
  file.write(path());
  fs::resize_file(path(), file.header().size());
  const LlamaModel model = load(open(path(), Weights::kMayBeMissing).get());
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(llama_model_n_layer(model.get()), 2);
}

class SplitFileTest : public VirtualFileTest {
 protected:
  void write_parts(std::uint32_t alignment) {
    const Sizes sizes;
    for (std::uint16_t part = 0; part < 3; ++part) {
      TestFile file;
      if (part == 0) file = llama_keys(sizes);
      file.alignment = alignment;
      if (alignment != 32) file.u32("general.alignment", alignment);
      file.u16("split.no", part).u16("split.count", 3).i32("split.tensors.count", 20);
      if (part == 0) add_ends(file, sizes);
      if (part > 0) add_layer(file, sizes, part - 1);
      file.write(path("m-0000" + std::to_string(part + 1) + "-of-00003.gguf"));
    }
  }
};

TEST_F(SplitFileTest, LooksLikeOneFile) {
  for (const std::uint32_t alignment : {32U, 128U}) {
    write_parts(alignment);
    const auto profile = read_model(path("m-00001-of-00003.gguf"));
    ASSERT_TRUE(profile) << profile.error().message;
    const auto stream = open_virtual_file(*profile);
    ASSERT_TRUE(stream) << stream.error().message;
    ggml_context* tensors = nullptr;
    const std::unique_ptr<gguf_context, GgufDeleter> gguf(
        gguf_init_from_file_ptr(stream->get(), {true, &tensors}));
    ASSERT_NE(gguf, nullptr);
    EXPECT_EQ(gguf_get_alignment(gguf.get()), alignment);
    EXPECT_EQ(gguf_find_key(gguf.get(), "split.count"), -1);
    EXPECT_NE(gguf_find_key(gguf.get(), "tokenizer.ggml.tokens"), -1);
    ASSERT_EQ(gguf_get_n_tensors(gguf.get()), 20);
    for (const TensorInfo& tensor : profile->tensors) {
      const ggml_tensor* merged = ggml_get_tensor(tensors, tensor.name.c_str());
      ASSERT_NE(merged, nullptr) << tensor.name;
      EXPECT_EQ(merged->type, tensor.type);
      EXPECT_EQ(ggml_nbytes(merged), tensor.bytes.value);
    }
    ggml_free(tensors);
  }
}

TEST_F(SplitFileTest, LoadsWithLibllama) {
  write_parts(32);
  const LlamaModel model = load(open(path("m-00001-of-00003.gguf")).get());
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(llama_model_n_layer(model.get()), 2);
}

TEST_F(SplitFileTest, LoadsWithLibllamaWithoutWeights) {
  write_parts(32);
  for (const char* part : {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}) {
    fs::resize_file(path(part), read_header(path(part))->header.size);
  }
  const LlamaModel model = load(open(path("m-00001-of-00003.gguf"), Weights::kMayBeMissing).get());
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(llama_model_n_layer(model.get()), 2);
}

TEST_F(VirtualFileTest, LibllamaLoadsRealModels) {
  const fs::path folder = fs::path(BRIMFUL_SHARED_DIR) / "models";
  if (!fs::exists(folder)) GTEST_SKIP() << "NOT TESTED: no models in " << folder;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    const LlamaModel model = load(open(entry.path()).get());
    EXPECT_NE(model, nullptr) << entry.path();
  }
}

}  // namespace
}  // namespace brimful::model

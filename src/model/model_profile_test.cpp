#include "model/model_profile.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "model/gguf_test_file.h"
#include "model/header_file.h"
#include "model/metadata.h"
#include "model/split_names.h"
#include "model/tensor_names.h"

namespace brimful::model {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::small_model;
using ::testing::StartsWith;
using testing::TestFile;

class ModelProfileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    dir_ = fs::temp_directory_path() / ("brimful-profile-" + std::to_string(::getpid()) + "-" + info->name());
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  fs::path path(const std::string& name = "model.gguf") const { return dir_ / name; }

  void expect_refused(const fs::path& file, ErrorCode code, const std::string& message) {
    const auto result = read_model(file);
    ASSERT_FALSE(result) << "accepted; expected: " << message;
    EXPECT_EQ(to_string(result.error().code), to_string(code)) << result.error().message;
    EXPECT_THAT(result.error().message, HasSubstr(message));
    EXPECT_THAT(result.error().message, StartsWith(dir_.string()));
    EXPECT_EQ(result.error().message.find('\n'), std::string::npos);
  }

  fs::path dir_;
};

TEST_F(ModelProfileTest, DescribesAModel) {
  small_model().text("tokenizer.chat_template", "{{x}}").write(path());
  const auto profile = read_model(path());
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->name, "tiny");
  EXPECT_EQ(profile->architecture, "llama");
  EXPECT_EQ(profile->layers, 2U);
  EXPECT_EQ(profile->embedding, 64U);
  EXPECT_EQ(profile->train_context, 128U);
  EXPECT_EQ(profile->vocabulary, 4U);
  EXPECT_EQ(profile->parameters, 64U * 4 + 64 * 64);
  EXPECT_EQ(profile->weight_bytes().value, 1024U + 64 * 64 / 32 * 34);
  EXPECT_EQ(profile->chat_template, "{{x}}");
  const TensorInfo* query = profile->find("blk.0.attn_q.weight");
  ASSERT_NE(query, nullptr);
  EXPECT_EQ(query->role, Role::kAttention);
  EXPECT_EQ(query->layer, 0);
  EXPECT_EQ(query->row_bytes().value, 68U);
  EXPECT_EQ(query->rows(), 64);
  EXPECT_EQ(query->offset + query->bytes.value, fs::file_size(path()));
  EXPECT_EQ(profile->find("no such tensor"), nullptr);
}

TEST_F(ModelProfileTest, NamesAModelWithoutANameAfterItsFile) {
  small_model().remove("general.name").write(path("my-model.gguf"));
  EXPECT_EQ(read_model(path("my-model.gguf"))->name, "my-model");
}

TEST_F(ModelProfileTest, RefusesWhatIsNoFile) {
  expect_refused(path("nothing"), ErrorCode::kNotFound, "there is no such file");
  expect_refused(dir_, ErrorCode::kInvalidArgument, "is a directory");
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  expect_refused(path("fifo"), ErrorCode::kInvalidArgument, "not a regular file");
  std::ofstream(path("empty")).flush();
  expect_refused(path("empty"), ErrorCode::kCorrupt, "the file is empty");
  std::ofstream(path("text")) << "hello, this is a text file";
  expect_refused(path("text"), ErrorCode::kCorrupt, "starts with 'hell'");
}

TEST_F(ModelProfileTest, RefusesAFileThatMayNotBeRead) {
  small_model().write(path());
  fs::permissions(path(), fs::perms::none);
  // When the test runs as root, this makes the file unreadable for it.
  const auto self = static_cast<uid_t>(::setfsuid(65534));
  expect_refused(path(), ErrorCode::kIo, "no permission");
  ::setfsuid(self);
}

TEST_F(ModelProfileTest, RefusesATruncatedFile) {
  small_model().write(path());
  fs::resize_file(path(), fs::file_size(path()) - 100);
  expect_refused(
      path(), ErrorCode::kCorrupt,
      "tensor 'blk.0.attn_q.weight' ends 100 bytes past the end of the file: the download is incomplete; "
      "fetch it again");
  fs::resize_file(path(), 200);
  expect_refused(path(), ErrorCode::kCorrupt, "the download is incomplete");
}

TEST_F(ModelProfileTest, ReadsAModelWhoseWeightsAreMissingWhereThatIsAllowed) {
  small_model().write(path());
  const auto whole = read_model(path(), Weights::kMayBeMissing);
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_FALSE(whole->weights_missing);

  fs::resize_file(path(), small_model().header().size());
  expect_refused(path(), ErrorCode::kCorrupt, "holds no weights, only a header: fetch the whole file");
  const auto cut = read_model(path(), Weights::kMayBeMissing);
  ASSERT_TRUE(cut) << cut.error().message;
  EXPECT_TRUE(cut->weights_missing);
  ASSERT_EQ(cut->tensors.size(), whole->tensors.size());
  EXPECT_EQ(cut->tensors.back().offset, whole->tensors.back().offset);
  EXPECT_EQ(cut->weight_bytes(), whole->weight_bytes());
  EXPECT_EQ(read_metadata(*cut, 2).value().size(), 11U);

  fs::resize_file(path(), small_model().header().size() - 1);
  const auto no_header = read_model(path(), Weights::kMayBeMissing);
  ASSERT_FALSE(no_header);
  EXPECT_EQ(no_header.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(no_header.error().message, HasSubstr("at least 1 more bytes"));
}

TEST_F(ModelProfileTest, RefusesAVocabularyWithoutWeights) {
  TestFile file;
  file.text("general.architecture", "llama").u32("llama.block_count", 1).u32("llama.embedding_length", 64);
  file.u32("llama.attention.head_count", 1);
  file.write(path());
  expect_refused(path(), ErrorCode::kUnsupported, "no weights");
}

/// A model file of `size` bytes in the folder. Most of it is a hole.
class FileWithAHole {
 public:
  FileWithAHole(const TestFile& model, std::uint64_t size, const fs::path& name)
      : file_(::memfd_create("hole", MFD_CLOEXEC)) {
    const auto header = model.header();
    EXPECT_EQ(::write(file_, header.data(), header.size()), static_cast<ssize_t>(header.size()));
    EXPECT_EQ(::ftruncate(file_, static_cast<off_t>(size)), 0);
    fs::create_symlink("/proc/self/fd/" + std::to_string(file_), name);
  }
  ~FileWithAHole() { ::close(file_); }
  FileWithAHole(const FileWithAHole&) = delete;
  FileWithAHole& operator=(const FileWithAHole&) = delete;

 private:
  int file_;
};

TEST_F(ModelProfileTest, RefusesMoreWeightsThanCanBeAddedUp) {
  TestFile file = small_model();
  for (const char* name : {"a", "b", "c"})
    file.tensor(name, {1 << 30, std::int64_t{1} << 32}, GGML_TYPE_IQ1_S);
  const FileWithAHole one(file, INT64_MAX,
                          path());  // This fits into the file: 2^62 elements take 0.8 * 2^60 bytes.
  expect_refused(path(), ErrorCode::kCorrupt, "more weights than any disk holds");

  const auto part = [](std::uint16_t number, const char* name) {
    TestFile half = small_model();
    half.u16("split.no", number).u16("split.count", 2);
    if (number > 0) half = TestFile().u16("split.no", number).u16("split.count", 2);
    return half.tensor(name, {1 << 30, std::int64_t{1} << 31}, GGML_TYPE_Q2_K);
  };
  const FileWithAHole first(part(0, "a"), INT64_MAX, path("m-00001-of-00002.gguf"));
  const FileWithAHole second(part(1, "b"), INT64_MAX, path("m-00002-of-00002.gguf"));
  expect_refused(path("m-00001-of-00002.gguf"), ErrorCode::kCorrupt, "more weights than any disk holds");
}

TEST_F(ModelProfileTest, CountsTheLargestModels) {
  TestFile file = small_model();
  const FileWithAHole large(file.tensor("a", {1 << 30, std::int64_t{1} << 31}, GGML_TYPE_IQ1_S), INT64_MAX,
                            path());
  const auto profile = read_model(path());
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->parameters, (std::uint64_t{1} << 61) + 64 * 4 + 64 * 64);
}

TEST_F(ModelProfileTest, ReadsHeadersLargerThanTheFirstRead) {
  std::vector<std::string> tokens;
  tokens.reserve(200000);
  for (int i = 0; i < 200000; ++i) tokens.push_back("token number " + std::to_string(i));
  TestFile file = small_model();
  file.remove("tokenizer.ggml.scores")
      .remove("tokenizer.ggml.token_type")
      .texts("tokenizer.ggml.tokens", tokens);
  file.write(path());
  const auto profile = read_model(path());
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->vocabulary, 200000U);
}

TEST_F(ModelProfileTest, LeavesNoPageCacheBehind) {
  small_model().write(path());
  fs::resize_file(path(), 8 << 20);
  const int fd = ::open(path().c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  ::fsync(fd);  // Dirty pages cannot be dropped from the cache.
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  const auto cached_pages = [&] {
    void* map = ::mmap(nullptr, 8 << 20, PROT_READ, MAP_SHARED, fd, 0);
    std::vector<unsigned char> resident((8 << 20) / 4096);
    ::mincore(map, 8 << 20, resident.data());
    ::munmap(map, 8 << 20);
    return std::ranges::count_if(resident, [](unsigned char c) { return (c & 1) != 0; });
  };
  if (cached_pages() != 0) {
    ::close(fd);
    GTEST_SKIP() << "the temporary folder is on a file system that lives in the page cache";
  }
  ASSERT_TRUE(read_model(path()));
  EXPECT_EQ(cached_pages(), 0);
  ::close(fd);
}

/// Writes part `part` (from 1) of `parts`. The first part has the keys, and each part has one tensor.
TestFile split(std::uint16_t part, std::uint16_t parts) {
  TestFile file;
  if (part == 1) file = small_model();
  if (part != 1) file.tensor("blk.1.part" + std::to_string(part), {32});
  file.u16("split.no", static_cast<std::uint16_t>(part - 1)).u16("split.count", parts);
  file.i32("split.tensors.count", parts + 1);
  return file;
}

TEST_F(ModelProfileTest, ReadsASplitModel) {
  for (std::uint16_t i = 1; i <= 3; ++i)
    split(i, 3).write(path("m-0000" + std::to_string(i) + "-of-00003.gguf"));
  const auto profile = read_model(path("m-00001-of-00003.gguf"));
  ASSERT_TRUE(profile) << profile.error().message;
  ASSERT_EQ(profile->files.size(), 3U);
  ASSERT_EQ(profile->tensors.size(), 4U);
  EXPECT_EQ(profile->tensors[3].name, "blk.1.part3");
  EXPECT_EQ(profile->tensors[3].file, 2U);
  EXPECT_THAT(profile->files[2].path.string(), EndsWith("m-00003-of-00003.gguf"));
}

TEST_F(ModelProfileTest, ReadsTheHeadersOfASplitModel) {
  for (std::uint16_t i = 1; i <= 3; ++i) {
    const fs::path file = path("m-0000" + std::to_string(i) + "-of-00003.gguf");
    split(i, 3).write(file);
    if (i > 1) fs::resize_file(file, split(i, 3).header().size());
  }
  EXPECT_FALSE(read_model(path("m-00001-of-00003.gguf")));
  const auto profile = read_model(path("m-00001-of-00003.gguf"), Weights::kMayBeMissing);
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_TRUE(profile->weights_missing);
  EXPECT_EQ(profile->tensors.size(), 4U);
}

TEST_F(ModelProfileTest, RefusesASplitModelThatIsNotWhole) {
  split(1, 2).write(path("m-00001-of-00002.gguf"));
  const auto missing = read_model(path("m-00001-of-00002.gguf"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.error().message,
              HasSubstr("m-00002-of-00002.gguf: part 2 of 2 of the model is missing"));

  split(2, 2).write(path("m-00002-of-00002.gguf"));
  EXPECT_TRUE(read_model(path("m-00001-of-00002.gguf")));
  expect_refused(path("m-00002-of-00002.gguf"), ErrorCode::kInvalidArgument, "m-00001-of-00002.gguf");

  fs::copy(path("m-00001-of-00002.gguf"), path("renamed.gguf"));
  expect_refused(path("renamed.gguf"), ErrorCode::kInvalidArgument, "does not end in -00001-of-00002.gguf");

  split(3, 3).write(path("m-00002-of-00002.gguf"));
  expect_refused(path("m-00001-of-00002.gguf"), ErrorCode::kCorrupt, "says that it is part 3 of 3");

  split(2, 2).tensor("more", {32}).write(path("m-00002-of-00002.gguf"));
  expect_refused(path("m-00001-of-00002.gguf"), ErrorCode::kCorrupt, "claims 3 tensors");

  TestFile twice = small_model();
  twice.u16("split.no", 1).u16("split.count", 2);
  twice.write(path("m-00002-of-00002.gguf"));
  split(1, 2).remove("split.tensors.count").write(path("m-00001-of-00002.gguf"));
  expect_refused(path("m-00001-of-00002.gguf"), ErrorCode::kCorrupt, "is in two parts");
}

TEST_F(ModelProfileTest, ReadsMetadata) {
  small_model().write(path());
  const auto profile = read_model(path());
  const auto entries = read_metadata(*profile, 2);
  ASSERT_TRUE(entries) << entries.error().message;
  ASSERT_EQ(entries->size(), 11U);
  EXPECT_EQ((*entries)[0].key, "general.architecture");
  EXPECT_EQ((*entries)[0].value, "llama");
  EXPECT_EQ((*entries)[2].type, "u32");
  EXPECT_EQ((*entries)[2].value, 2);
  EXPECT_EQ((*entries)[8].type, "arr[str]");
  EXPECT_EQ((*entries)[8].count, 4U);
  EXPECT_EQ((*entries)[8].value, nlohmann::json::array({"<unk>", "<s>"}));
  EXPECT_EQ((*entries)[10].value, nlohmann::json::array({2, 3}));
}

TEST(TensorNames, TellRoleAndLayer) {
  const auto expect = [](std::string_view name, Role role, std::optional<int> layer) {
    const TensorName parsed = parse_tensor_name(name);
    EXPECT_EQ(to_string(parsed.role), to_string(role)) << name;
    EXPECT_EQ(parsed.layer, layer) << name;
  };
  expect("token_embd.weight", Role::kTokenEmbedding, std::nullopt);
  expect("per_layer_token_embd.weight", Role::kTokenEmbedding, std::nullopt);
  expect("token_embd_norm.weight", Role::kNorm, std::nullopt);
  expect("output.weight", Role::kOutput, std::nullopt);
  expect("output_norm.weight", Role::kNorm, std::nullopt);
  expect("rope_freqs.weight", Role::kOther, std::nullopt);
  expect("blk.0.attn_q.weight", Role::kAttention, 0);
  expect("blk.61.attn_kv_a_mqa.weight", Role::kAttention, 61);
  expect("blk.7.attn_q_norm.weight", Role::kNorm, 7);
  expect("blk.7.post_ffw_norm_1.weight", Role::kNorm, 7);
  expect("blk.7.ffn_down.weight", Role::kFeedForward, 7);
  expect("blk.7.ffn_down_exps.weight", Role::kExpert, 7);
  expect("blk.7.ffn_gate_up_exps.weight", Role::kExpert, 7);
  expect("blk.7.ffn_up_chexps.weight", Role::kExpert, 7);
  expect("blk.7.ffn_up.3.weight", Role::kExpert, 7);
  expect("blk.7.ffn_down_shexp.weight", Role::kFeedForward, 7);
  expect("blk.7.ffn_gate_inp.weight", Role::kFeedForward, 7);
  expect("blk.7.ssm_in.weight", Role::kOther, 7);
  expect("enc.blk.3.attn_k.weight", Role::kAttention, 3);
  expect("blk.99999999999.attn_q.weight", Role::kOther, std::nullopt);
  expect("blk..attn_q.weight", Role::kOther, std::nullopt);
  expect("blk.3", Role::kOther, std::nullopt);
}

TEST(SplitNames, ParseOnlyTheirForm) {
  const auto name = parse_split_name("/models/big-q4-00002-of-00010.gguf");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->part, 2U);
  EXPECT_EQ(name->parts, 10U);
  EXPECT_EQ(name->path_of(1), "/models/big-q4-00001-of-00010.gguf");
  for (const char* bad : {"big.gguf", "-00001-of-00002.gguf", "m-00000-of-00002.gguf",
                          "m-00003-of-00002.gguf", "m-0000x-of-00002.gguf", "m-00001-of-00002.bin"}) {
    EXPECT_FALSE(parse_split_name(bad)) << bad;
  }
}

std::vector<fs::path> shared_files(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(fs::path(BRIMFUL_SHARED_DIR) / folder, ignored)) {
    if (entry.path().extension() == ".gguf") files.push_back(entry.path());
  }
  return files;
}

TEST(SharedFiles, EveryFuzzerFindingIsRefused) {
  const auto files = shared_files("malformed");
  if (files.empty())
    GTEST_SKIP() << "NOT TESTED: no fuzzer findings in " << BRIMFUL_SHARED_DIR << "/malformed";
  for (const fs::path& file : files) {
    const auto result = read_model(file);
    EXPECT_FALSE(result) << "accepted: " << file;
    if (!result) {
      EXPECT_NE(result.error().code, ErrorCode::kInternal) << result.error().message;
    }
  }
}

TEST(SharedFiles, EveryRealModelIsAccepted) {
  const auto files = shared_files("models");
  if (files.empty()) GTEST_SKIP() << "NOT TESTED: no models in " << BRIMFUL_SHARED_DIR << "/models";
  for (const fs::path& file : files) {
    const auto profile = read_model(file);
    ASSERT_TRUE(profile) << profile.error().message;
    EXPECT_GT(profile->vocabulary, 0U);
    EXPECT_LE(profile->weight_bytes().value, fs::file_size(file));
  }
}

TEST(SharedFiles, ARealModelCutAnywhereIsRefused) {
  const fs::path file = fs::path(BRIMFUL_SHARED_DIR) / "models" / "stories260K-f32.gguf";
  const auto header = read_header(file);
  if (!header) GTEST_SKIP() << "NOT TESTED: " << header.error().message;
  const std::uint64_t size = header->file.size.value;
  const std::uint64_t end_of_last =
      header->header.tensors.back().offset + header->header.tensors.back().bytes.value;
  for (std::uint64_t cut = 0; cut < end_of_last; cut += cut < header->header.size ? 1 : 4099) {
    const auto given = std::min<std::uint64_t>(cut, header->bytes.size());
    const auto result = parse_gguf(std::span(header->bytes).first(given), cut);
    ASSERT_FALSE(result) << "accepted with " << cut << " of " << size << " bytes";
  }
}

}  // namespace
}  // namespace brimful::model

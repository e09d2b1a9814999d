#include "synth/synth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <thread>
#include <tuple>

#include <sys/resource.h>
#include <sys/stat.h>

#include "model/model_profile.h"
#include "synth/output.h"
#include "synth/weights.h"

namespace brimful::synth {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

struct FreeModel {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
struct FreeContext {
  void operator()(llama_context* context) const { llama_free(context); }
};
using ModelPtr = std::unique_ptr<llama_model, FreeModel>;
using ContextPtr = std::unique_ptr<llama_context, FreeContext>;

class SynthTest : public testing::Test {
 protected:
  void SetUp() override {
    llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
    std::string name = testing::TempDir() + "brimful-synth-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    fs::permissions(folder_, fs::perms::owner_all);
    fs::remove_all(folder_);
  }

  static SynthOptions tiny(const std::string& type = "Q4_K") {
    SynthOptions options;
    options.like = "llama-tiny";
    options.type = type;
    return options;
  }

  Result<std::vector<fs::path>> write(const SynthOptions& options, const fs::path& path,
                                      bool replace = false) {
    BRIMFUL_TRY(const SynthModel model, design_synth(options));
    return write_synth(model, path, replace, nullptr);
  }

  /// Writes a model and returns its first file.
  fs::path written(const SynthOptions& options, const std::string& name = "model.gguf") {
    const auto paths = write(options, folder_ / name);
    EXPECT_TRUE(paths.has_value()) << paths.error().message;
    return paths ? paths->front() : fs::path{};
  }

  std::string refused(const SynthOptions& options) {
    const auto model = design_synth(options);
    if (model) return "not refused";
    EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
    return model.error().message;
  }

  std::size_t files_left() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator{}));
  }

  fs::path folder_;
};

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

ModelPtr load(const fs::path& path) {
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  return ModelPtr(llama_model_load_from_file(path.c_str(), params));
}

std::vector<llama_token> tokenize(const llama_model* model, const std::string& text, bool special = false) {
  const llama_vocab* vocab = llama_model_get_vocab(model);
  std::vector<llama_token> tokens(text.size() + 8);
  const int n = llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), tokens.data(),
                               static_cast<int>(tokens.size()), special, false);
  tokens.resize(static_cast<std::size_t>(std::max(n, 0)));
  return tokens;
}

std::string detokenize(const llama_model* model, const std::vector<llama_token>& tokens) {
  std::string text(tokens.size() * 16 + 16, '\0');
  const int n = llama_detokenize(llama_model_get_vocab(model), tokens.data(), static_cast<int>(tokens.size()),
                                 text.data(), static_cast<int>(text.size()), true, false);
  text.resize(static_cast<std::size_t>(std::max(n, 0)));
  return text;
}

/// Returns greedy tokens after a prompt. The test fails when a logit is not finite, or when all logits are
/// equal.
std::vector<llama_token> greedy(llama_model* model, std::size_t count) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 256;
  params.n_threads = params.n_threads_batch = 1;
  const ContextPtr context(llama_init_from_model(model, params));
  if (!context) return {};
  std::vector<llama_token> batch = tokenize(model, "Once upon a time there was a model.", true);
  std::vector<llama_token> out;
  while (out.size() < count) {
    if (llama_decode(context.get(), llama_batch_get_one(batch.data(), static_cast<int>(batch.size()))) != 0)
      return {};
    const float* logits = llama_get_logits_ith(context.get(), -1);
    const std::span all(logits, static_cast<std::size_t>(llama_vocab_n_tokens(llama_model_get_vocab(model))));
    EXPECT_TRUE(std::ranges::all_of(all, [](float x) { return std::isfinite(x); }));
    EXPECT_LT(*std::ranges::min_element(all), *std::ranges::max_element(all) - 0.5F);
    out.push_back(static_cast<llama_token>(std::ranges::max_element(all) - all.begin()));
    batch = {out.back()};
  }
  return out;
}

std::size_t distinct(const std::vector<llama_token>& tokens) {
  return std::set<llama_token>(tokens.begin(), tokens.end()).size();
}

class SynthTypeTest : public SynthTest, public testing::WithParamInterface<ggml_type> {};

TEST_P(SynthTypeTest, LoadsAndDecodesVariedTokens) {
  const ModelPtr model = load(written(tiny(synth_type_name(GetParam()))));
  ASSERT_NE(model, nullptr);
  EXPECT_GE(distinct(greedy(model.get(), 16)), 8U);
}

INSTANTIATE_TEST_SUITE_P(EveryType, SynthTypeTest, testing::ValuesIn(synth_types()),
                         [](const auto& one) { return synth_type_name(one.param); });

TEST_F(SynthTest, SizeOnDiskIsThePredictedOne) {
  for (const std::uint32_t splits : {1U, 3U}) {
    SynthOptions options = tiny("Q6_K");
    options.splits = splits;
    const auto model = design_synth(options);
    ASSERT_TRUE(model.has_value());
    const auto paths = write_synth(*model, folder_ / "model.gguf", false, nullptr);
    ASSERT_TRUE(paths.has_value());
    ASSERT_EQ(paths->size(), splits);
    for (std::size_t i = 0; i < splits; ++i)
      EXPECT_EQ(fs::file_size((*paths)[i]), model->files[i].size.value);
  }
}

TEST_F(SynthTest, HeadersAloneDescribeTheSameModel) {
  for (const std::uint32_t splits : {1U, 3U}) {
    SynthOptions options = tiny("Q6_K");
    options.splits = splits;
    options.alignment = 4096;
    const auto model = design_synth(options);
    ASSERT_TRUE(model.has_value());
    const auto whole = model::read_model(written(options, "whole" + std::to_string(splits) + ".gguf"));
    ASSERT_TRUE(whole.has_value()) << whole.error().message;
    const auto paths =
        write_synth_headers(*model, folder_ / ("cut" + std::to_string(splits) + ".gguf"), false);
    ASSERT_TRUE(paths.has_value()) << paths.error().message;
    EXPECT_EQ(paths->size(), splits);
    Bytes on_disk;
    for (const fs::path& path : *paths) on_disk += Bytes{fs::file_size(path)};
    EXPECT_EQ(on_disk, model->header_bytes());

    EXPECT_FALSE(model::read_model(paths->front()).has_value());
    const auto cut = model::read_model(paths->front(), model::Weights::kMayBeMissing);
    ASSERT_TRUE(cut.has_value()) << cut.error().message;
    EXPECT_TRUE(cut->weights_missing);
    EXPECT_EQ(cut->name, whole->name);
    EXPECT_EQ(cut->vocabulary, whole->vocabulary);
    EXPECT_EQ(cut->parameters, whole->parameters);
    const auto places = [](const model::ModelProfile& profile) {
      std::vector<std::tuple<std::string, ggml_type, std::array<std::int64_t, 4>, std::uint32_t,
                             std::uint64_t, std::uint64_t>>
          all;
      all.reserve(profile.tensors.size());
      for (const model::TensorInfo& t : profile.tensors) {
        all.emplace_back(t.name, t.type, t.shape, t.file, t.offset, t.bytes.value);
      }
      return all;
    };
    EXPECT_EQ(places(*cut), places(*whole));
  }
}

TEST_F(SynthTest, HeadersOfALargeModelAreSmall) {
  SynthOptions options;
  options.like = "llama-70b";
  const auto model = design_synth(options);
  ASSERT_TRUE(model.has_value());
  const auto paths = write_synth_headers(*model, folder_ / "large.gguf", false);
  ASSERT_TRUE(paths.has_value()) << paths.error().message;
  EXPECT_LT(fs::file_size(paths->front()), 16U << 20);
  const auto profile = model::read_model(paths->front(), model::Weights::kMayBeMissing);
  ASSERT_TRUE(profile.has_value()) << profile.error().message;
  EXPECT_EQ(profile->parameters, 70553706496U);
}

TEST_F(SynthTest, ShapesHaveTheSizeOfTheModelsTheyAreLike) {
  const auto parameters = [](const char* like) {
    SynthOptions options;
    options.like = like;
    const auto model = design_synth(options);
    std::int64_t sum = 0;
    for (const SynthTensor& tensor : model->tensors) sum += tensor.shape[0] * tensor.rows();
    return sum;
  };
  EXPECT_EQ(parameters("llama-160m"), 162417408);
  EXPECT_EQ(parameters("llama-1b"), 1235814400);
  EXPECT_EQ(parameters("llama-3b"), 3212749824);
  EXPECT_EQ(parameters("llama-7b"), 6738415616);
  EXPECT_EQ(parameters("llama-8b"), 8030261248);
  EXPECT_EQ(parameters("llama-70b"), 70553706496);
  EXPECT_EQ(parameters("moe-6b"), 10724124928);  // 6 GB with Q4_K.
}

TEST_F(SynthTest, ProgressCountsToTheWholeSize) {
  const auto model = design_synth(tiny());
  Bytes last;
  ASSERT_TRUE(write_synth(*model, folder_ / "model.gguf", false, [&](Bytes done) {
    EXPECT_GE(done, last);
    last = done;
  }));
  EXPECT_GT(last.value, model->bytes().value / 2);
  EXPECT_LE(last, model->bytes());
}

TEST_F(SynthTest, SameSeedGivesTheSameBytesAndAnotherSeedOthers) {
  const std::string first = contents(written(tiny(), "a.gguf"));
  EXPECT_EQ(first, contents(written(tiny(), "b.gguf")));
  SynthOptions other = tiny();
  other.seed = 1;
  EXPECT_NE(first, contents(written(other, "c.gguf")));
}

TEST_F(SynthTest, SplitsAndAlignmentDoNotChangeTheModel) {
  const ModelPtr plain = load(written(tiny(), "plain.gguf"));
  const std::vector<llama_token> expected = greedy(plain.get(), 16);
  for (const std::uint32_t alignment : {32U, 64U, 4096U}) {
    for (const std::uint32_t splits : {1U, 2U, 39U}) {
      SCOPED_TRACE(testing::Message() << "alignment " << alignment << ", splits " << splits);
      SynthOptions options = tiny();
      options.alignment = alignment;
      options.splits = splits;
      const fs::path path = written(options, std::to_string(alignment) + ".gguf");
      EXPECT_EQ(fs::exists(folder_ / (std::to_string(alignment) + "-00002-of-00002.gguf")), splits == 2)
          << path;
      const ModelPtr model = load(path);
      ASSERT_NE(model, nullptr);
      EXPECT_EQ(greedy(model.get(), 16), expected);
      for (const auto& file : fs::directory_iterator(folder_)) {
        if (file.path().filename() != "plain.gguf") fs::remove(file.path());
      }
    }
  }
}

TEST_F(SynthTest, TensorsLieWhereTheAlignmentSays) {
  SynthOptions options = tiny();
  options.alignment = 4096;
  const auto model = design_synth(options);
  ASSERT_TRUE(model.has_value());
  for (const SynthFile::Placed& placed : model->files[0].tensors) EXPECT_EQ(placed.offset % 4096, 0U);
  const GgufPtr header(gguf_init_from_file(written(options).c_str(), {.no_alloc = true, .ctx = nullptr}));
  ASSERT_NE(header, nullptr);
  EXPECT_EQ(gguf_get_alignment(header.get()), 4096U);
  EXPECT_EQ(gguf_get_data_offset(header.get()), model->files[0].tensors[0].offset);
}

TEST_F(SynthTest, TiedModelHasNoOutputMatrixAndDecodes) {
  SynthOptions options = tiny();
  options.tied = true;
  const auto design = design_synth(options);
  EXPECT_TRUE(std::ranges::none_of(design->tensors, [](const auto& t) { return t.name == "output.weight"; }));
  const ModelPtr model = load(written(options));
  ASSERT_NE(model, nullptr);
  EXPECT_GE(distinct(greedy(model.get(), 16)), 8U);
}

TEST_F(SynthTest, OptionsReplaceTheSizesOfTheShape) {
  SynthOptions options = tiny();
  options.layers = 2;
  options.vocabulary = 3000;
  options.context = 77;
  const ModelPtr model = load(written(options));
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(llama_model_n_layer(model.get()), 2);
  EXPECT_EQ(llama_model_n_ctx_train(model.get()), 77);
  EXPECT_EQ(llama_vocab_n_tokens(llama_model_get_vocab(model.get())), 3000);
}

TEST_F(SynthTest, VocabularyTurnsAnyTextIntoTokensAndBack) {
  for (const std::uint32_t vocabulary : {kMinSynthVocabulary, 1024U, 32000U}) {
    SynthOptions options = tiny("Q8_0");
    options.layers = 1;
    options.vocabulary = vocabulary;
    const ModelPtr model = load(written(options, std::to_string(vocabulary) + ".gguf"));
    ASSERT_NE(model, nullptr);
    for (const char* const text :
         {"Hello, world!", "line\nbreak\ttab  two spaces", "grüße 你好 🙂", "{\"a\": [1, 2]}"}) {
      EXPECT_EQ(detokenize(model.get(), tokenize(model.get(), text)), text);
    }
  }
  const ModelPtr model = load(folder_ / "32000.gguf");
  // The tokens are pieces, not single letters.
  EXPECT_LE(tokenize(model.get(), "once upon a time").size(), 9U);
}

TEST_F(SynthTest, EndOfTextIsNeverChosen) {
  const ModelPtr model = load(written(tiny()));
  for (const llama_token token : greedy(model.get(), 128)) {
    EXPECT_FALSE(llama_vocab_is_control(llama_model_get_vocab(model.get()), token));
  }
}

TEST_F(SynthTest, KnownTextRepeatsAfterItsPeriod) {
  for (const char* const like : {"llama-tiny", "moe-6b", "gpt-oss"}) {
    SCOPED_TRACE(like);
    SynthOptions options = tiny();
    options.like = like;
    options.layers = 2;
    options.vocabulary = 300;
    options.text = SynthText{.period = 7};
    const SynthModel design = *design_synth(options);
    const ModelPtr model = load(written(options, std::string(like) + ".gguf"));
    ASSERT_NE(model, nullptr);
    const auto tokens = greedy(model.get(), 21);
    ASSERT_EQ(tokens.size(), 21U);
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i)
      EXPECT_EQ(design.following[static_cast<std::size_t>(tokens[i])],
                static_cast<std::uint32_t>(tokens[i + 1]));
    EXPECT_EQ(std::set(tokens.begin(), tokens.end()).size(), 7U);
    EXPECT_TRUE(std::equal(tokens.begin() + 7, tokens.end(), tokens.begin()));
  }
}

TEST_F(SynthTest, LayersThatPredictAKnownTextHaveTheErrorsThatAreWanted) {
  SynthOptions options = tiny();
  options.like = "glm4moe";
  options.layers = 3;
  options.vocabulary = 300;
  options.text = SynthText{.period = 200};
  const SynthModel right = *design_synth(options);
  EXPECT_TRUE(right.predicted.empty()) << "they share the output matrix";
  options.text->head_errors = 0.25F;
  const SynthModel wrong = *design_synth(options);
  EXPECT_EQ(wrong.following, right.following) << "the text itself is the same";
  ASSERT_EQ(wrong.predicted.size(), right.following.size());
  std::size_t different = 0;
  for (std::size_t i = 0; i < wrong.predicted.size(); ++i)
    different += wrong.predicted[i] != wrong.following[i] ? 1 : 0;
  EXPECT_GT(different, 45U);
  EXPECT_LT(different, 105U);
  EXPECT_NE(load(written(options)), nullptr);

  options.like = "llama-tiny";
  EXPECT_THAT(refused(options), HasSubstr("no layers that predict further tokens"));
}

TEST_F(SynthTest, ErrorsOfAKnownTextAreAsManyAsWanted) {
  const std::vector<bool> control(1000, false);
  const auto right = *following_tokens({.period = 100}, control, 5);
  const auto wrong = *following_tokens({.period = 100, .errors = 0.25F}, control, 5);
  std::size_t different = 0;
  for (std::size_t i = 0; i < right.size(); ++i) different += right[i] != wrong[i] ? 1 : 0;
  EXPECT_GT(different, 200U);
  EXPECT_LT(different, 300U);
  EXPECT_EQ(*following_tokens({.period = 100, .errors = 0.25F}, control, 5), wrong);
}

TEST_F(SynthTest, KnownTextThatCannotBeIsRefused) {
  const std::vector<bool> control(10, false);
  EXPECT_FALSE(following_tokens({.period = 1}, control, 0));
  EXPECT_FALSE(following_tokens({.period = 2, .errors = 2}, control, 0));
  EXPECT_FALSE(following_tokens({.period = 2}, std::vector<bool>(10, true), 0));
  SynthOptions options = tiny();
  options.text = SynthText{.period = 7};
  options.tied = true;
  EXPECT_THAT(design_synth(options).error().message, HasSubstr("--untied"));
}

TEST_F(SynthTest, CopiesTheTokenizerOfAnotherModel) {
  SynthOptions options = tiny();
  options.tokenizer_from = fs::path(BRIMFUL_LLAMA_CPP_DIR) / "models" / "ggml-vocab-llama-spm.gguf";
  options.layers = 1;
  options.chat_template = "{{ messages }}";
  const ModelPtr model = load(written(options));
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(llama_vocab_n_tokens(llama_model_get_vocab(model.get())), 32000);
  EXPECT_EQ(detokenize(model.get(), tokenize(model.get(), "Hello world")), "Hello world");
  EXPECT_STREQ(llama_model_chat_template(model.get(), nullptr), "{{ messages }}");

  options.vocabulary = 1000;
  EXPECT_THAT(refused(options), HasSubstr("has 32000 tokens, not 1000"));
}

TEST_F(SynthTest, BadOptionsAreRefusedWithWhatWouldDo) {
  SynthOptions options = tiny();
  options.like = "gpt-5";
  EXPECT_THAT(refused(options), AllOf(HasSubstr("gpt-5"), HasSubstr("llama-tiny, "), HasSubstr("llama-70b")));
  EXPECT_THAT(refused(tiny("Q9_Z")), AllOf(HasSubstr("Q9_Z"), HasSubstr("Q4_K"), HasSubstr("IQ1_S")));
  EXPECT_THAT(refused(tiny("Q8_K")), HasSubstr("no weight type"));
  EXPECT_THAT(refused(tiny("I32")), HasSubstr("no weight type"));
  options = tiny();
  options.alignment = 48;
  EXPECT_THAT(refused(options), HasSubstr("power of two"));
  options.alignment = 16;
  EXPECT_THAT(refused(options), HasSubstr("it can be 32 to"));
  options = tiny();
  options.splits = 40;
  EXPECT_THAT(refused(options), HasSubstr("it can be 1 to 39"));
  options = tiny();
  options.vocabulary = 12;
  EXPECT_THAT(refused(options), HasSubstr("it can be 260 to"));
  options = tiny();
  options.layers = 0;
  EXPECT_THAT(refused(options), HasSubstr("number of layers"));
}

TEST_F(SynthTest, ExistingFileIsKeptUnlessReplaced) {
  const fs::path path = folder_ / "model.gguf";
  std::ofstream(path) << "precious";
  const auto kept = write(tiny(), path);
  ASSERT_FALSE(kept.has_value());
  EXPECT_THAT(kept.error().message, EndsWith("model.gguf exists; add --force to replace it"));
  EXPECT_EQ(contents(path), "precious");
  EXPECT_EQ(files_left(), 1U);
  EXPECT_TRUE(write(tiny(), path, true).has_value());
  EXPECT_NE(load(path), nullptr);
}

TEST_F(SynthTest, FullDiskIsOneClearError) {
  // The output is a link. If it were ever replaced by a rename, the link would be lost, and not the system's
  // device.
  const fs::path device = folder_ / "full";
  fs::create_symlink("/dev/full", device);
  const auto full = write(tiny(), device, true);
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code, ErrorCode::kIo);
  EXPECT_THAT(full.error().message, HasSubstr("/full needs 2.0 MiB"));
  EXPECT_THAT(full.error().message, HasSubstr("the disk is full"));
  EXPECT_TRUE(fs::is_symlink(device));
  EXPECT_EQ(files_left(), 1U);
}

TEST_F(SynthTest, PipeIsWrittenToAndNeverReplaced) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::string received;
  std::jthread reader([&] { received = contents(pipe); });
  const auto sent = write(tiny(), pipe, true);
  reader.join();
  ASSERT_TRUE(sent.has_value()) << sent.error().message;
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(received, contents(written(tiny(), "plain.gguf")));
  EXPECT_EQ(files_left(), 2U);
}

TEST_F(SynthTest, DiskTooSmallIsToldBeforeAnythingIsWritten) {
  const auto file = OutputFile::create(folder_ / "model.gguf", Bytes{1ULL << 60}, false);
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code, ErrorCode::kIo);
  EXPECT_THAT(file.error().message,
              AllOf(HasSubstr("model.gguf needs 1073741824.00 GiB"), EndsWith("are free")));
  EXPECT_EQ(files_left(), 0U);
}

TEST_F(SynthTest, FailedWriteLeavesNoFileBehind) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  SynthOptions options = tiny("F32");
  options.splits = 3;
  const auto failed = write(options, folder_ / "model.gguf");
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code, ErrorCode::kIo);
  EXPECT_THAT(failed.error().message, HasSubstr("model-00001-of-00003.gguf"));
  EXPECT_EQ(files_left(), 0U);
}

TEST_F(SynthTest, PlaceThatCannotBeWrittenIsAnError) {
  const auto missing = write(tiny(), folder_ / "no" / "such" / "model.gguf");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kIo);
  EXPECT_THAT(missing.error().message, HasSubstr("No such file or directory"));
  EXPECT_THAT(write(tiny(), folder_).error().message, HasSubstr("is a directory"));
  EXPECT_FALSE(write(tiny(), "/proc/model.gguf").has_value());  // Root is refused, too.
  EXPECT_EQ(files_left(), 0U);
}

TEST(WeightPoolTest, WeightsHaveTheDeviationAskedFor) {
  for (const ggml_type type : synth_types()) {
    SCOPED_TRACE(synth_type_name(type));
    const WeightPool pool(type, 0.02F, 7);
    const auto count = static_cast<std::int64_t>(pool.blocks()) * ggml_blck_size(type);
    std::vector<float> values(static_cast<std::size_t>(count));
    if (type == GGML_TYPE_F32) {
      std::memcpy(values.data(), pool.bytes().data(), pool.bytes().size());
    } else {
      ggml_get_type_traits(type)->to_float(pool.bytes().data(), values.data(), count);
    }
    double sum = 0;
    double squares = 0;
    for (const double value : values) {
      sum += value;
      squares += value * value;
    }
    const double mean = sum / static_cast<double>(count);
    EXPECT_NEAR(mean, 0.0, 0.002);
    EXPECT_NEAR(std::sqrt(squares / static_cast<double>(count)), 0.02, 0.005);
  }
}

TEST(WeightStreamTest, BytesDoNotDependOnHowTheyAreAskedFor) {
  const WeightPool pool(GGML_TYPE_Q4_K, 0.03F, 7);
  const std::size_t row = 4 * pool.block_bytes();
  std::vector<std::byte> whole(row * 5000);
  WeightStream(pool, row, whole.size(), 3).next(whole);
  std::vector<std::byte> pieces(whole.size());
  WeightStream stream(pool, row, whole.size(), 3);
  for (std::size_t at = 0; at < pieces.size(); at += 1001) {
    stream.next(std::span(pieces).subspan(at, std::min<std::size_t>(1001, pieces.size() - at)));
  }
  EXPECT_EQ(whole, pieces);
}

TEST(WeightStreamTest, RowsOfATensorLargerThanThePoolDiffer) {
  const WeightPool pool(GGML_TYPE_Q4_K, 0.03F, 7);
  const std::size_t row = 4 * pool.block_bytes();
  const std::size_t rows = 20000;
  ASSERT_GT(rows * row, pool.bytes().size());
  WeightStream stream(pool, row, rows * row, 3);
  std::set<std::vector<std::byte>> seen;
  for (std::size_t i = 0; i < rows; ++i) {
    std::vector<std::byte> bytes(row);
    stream.next(bytes);
    seen.insert(std::move(bytes));
  }
  EXPECT_EQ(seen.size(), rows);
}

}  // namespace
}  // namespace brimful::synth

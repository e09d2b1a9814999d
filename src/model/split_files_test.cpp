#include "model/split_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "model/model_profile.h"
#include "synth_model.h"
#include "temporary_directory.h"

namespace brimful::model {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class SplitFiles : public testing::Test {
 protected:
  void SetUp() override {
    model_ = tests::synth_model(directory_, {.like = "llama-tiny", .type = "Q8_0"});
    ASSERT_FALSE(model_.empty());
  }
  [[nodiscard]] fs::path at(const std::string& name) const { return directory_.path() / name; }
  Result<std::vector<SplitPart>> split(SplitLimits limits, bool force = false) {
    return split_file(model_, at("part"), limits, true, force, {});
  }

  const tests::TemporaryDirectory directory_;
  fs::path model_;
};

TEST_F(SplitFiles, AreOneModelAgainAfterMerging) {
  const auto parts = split({.tensors = 5});
  ASSERT_TRUE(parts) << parts.error().message;
  ASSERT_GT(parts->size(), 2U);
  for (const SplitPart& part : *parts) EXPECT_EQ(fs::file_size(part.path), part.bytes.value) << part.path;
  const auto whole = read_model(model_);
  const auto cut = read_model(parts->front().path);
  ASSERT_TRUE(cut) << cut.error().message;
  EXPECT_EQ(cut->weight_bytes(), whole->weight_bytes());
  const auto merged = merge_files(parts->front().path, at("merged.gguf"), false, {});
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_EQ(*merged, parts->size());
  const auto again = read_model(at("merged.gguf"));
  ASSERT_TRUE(again) << again.error().message;
  ASSERT_EQ(again->tensors.size(), whole->tensors.size());
  const std::string before = bytes_of(model_);
  const std::string after = bytes_of(at("merged.gguf"));
  for (const TensorInfo& tensor : whole->tensors) {
    const TensorInfo* const now = again->find(tensor.name);
    ASSERT_NE(now, nullptr);
    EXPECT_TRUE(before.substr(tensor.offset, tensor.bytes.value) ==
                after.substr(now->offset, now->bytes.value))
        << tensor.name;
  }
}

TEST_F(SplitFiles, KeepTheLimitOfBytes) {
  const Bytes limit = kMiB;
  const auto parts = split({.bytes = limit, .no_tensors_in_first = true});
  if (!parts) {
    EXPECT_THAT(parts.error().message, HasSubstr("use a larger limit"));
    return;
  }
  EXPECT_EQ(parts->front().tensors, 0U);
  for (const SplitPart& part : std::span(*parts).subspan(1)) EXPECT_LE(part.bytes, limit + Bytes{64 * 1024});
  EXPECT_FALSE(split({.bytes = Bytes{1000}}));
}

TEST_F(SplitFiles, ThatExistAreKeptAndWhatFailsLeavesNothing) {
  ASSERT_TRUE(split({.tensors = 5}));
  const auto again = split({.tensors = 5});
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("exists already"));
  EXPECT_TRUE(split({.tensors = 5}, true));
  std::size_t calls = 0;
  const auto stopped = split_file(model_, at("stopped"), {.tensors = 5}, true, false,
                                  [&](Bytes, Bytes) { return ++calls < 9; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
  for (const auto& entry : fs::directory_iterator(directory_.path()))
    EXPECT_THAT(entry.path().filename().string(), testing::Not(HasSubstr("stopped")));
}

TEST_F(SplitFiles, ThatDoNotBelongTogetherAreNotMerged) {
  const auto parts = split({.tensors = 5});
  ASSERT_TRUE(parts);
  const auto refused = [&](const fs::path& first, const std::string& why) {
    const auto merged = merge_files(first, at("merged.gguf"), false, {});
    ASSERT_FALSE(merged);
    EXPECT_THAT(merged.error().message, HasSubstr(why));
    EXPECT_FALSE(fs::exists(at("merged.gguf")));
  };
  refused((*parts)[1].path, "give the first part");
  refused(model_, "it is no part of a split file");
  EXPECT_FALSE(split_file((*parts)[0].path, at("twice"), {.tensors = 2}, true, false, {}));
  fs::copy_file((*parts)[2].path, (*parts)[1].path, fs::copy_options::overwrite_existing);
  refused((*parts)[0].path, "do not belong together");
  fs::remove((*parts)[1].path);
  refused((*parts)[0].path, "this part is missing");
}

}  // namespace
}  // namespace brimful::model

#include "engine/expert_heat_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "model/model_profile.h"
#include "synth/synth.h"

namespace brimful::engine {
namespace {

namespace fs = std::filesystem;

class ExpertHeatFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "brimful-heat-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    profile_ = profile_of("qwen3moe");
  }
  void TearDown() override { fs::remove_all(folder_); }

  model::ModelProfile profile_of(const std::string& like) const {
    synth::SynthOptions options;
    options.like = like;
    const auto design = synth::design_synth(options);
    EXPECT_TRUE(design);
    const auto written = synth::write_synth(*design, folder_ / (like + ".gguf"), true, nullptr);
    EXPECT_TRUE(written);
    auto profile = model::read_model(written->front());
    EXPECT_TRUE(profile);
    return std::move(*profile);
  }
  fs::path state() const { return folder_ / "state" / "experts"; }
  fs::path only_file() const {
    fs::path out;
    for (const auto& entry : fs::directory_iterator(state())) {
      EXPECT_TRUE(out.empty()) << "one file for a model";
      out = entry.path();
    }
    return out;
  }

  fs::path folder_;
  model::ModelProfile profile_;
  const tier::ExpertHeat heat_{{"blk.0.ffn_gate_exps.weight", {0, 1.25F, 90}}, {"blk.1.\"odd\"", {3}}};
};

TEST_F(ExpertHeatFileTest, TheNextStartReadsWhatThisOneWrote) {
  ExpertHeatFile first(state());
  const auto nothing = first.read(profile_);
  ASSERT_TRUE(nothing) << nothing.error().message;
  EXPECT_TRUE(nothing->empty());
  ASSERT_TRUE(first.write({{"blk.0", {1}}}));
  ASSERT_TRUE(first.write(heat_));
  ExpertHeatFile second(state());
  const auto read = second.read(profile_);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, heat_);
  struct stat facts {};
  ASSERT_EQ(::stat(only_file().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0600U) << "it tells what was talked about";
}

TEST_F(ExpertHeatFileTest, BelongsToOneModel) {
  ExpertHeatFile file(state());
  ASSERT_TRUE(file.read(profile_));
  ASSERT_TRUE(file.write(heat_));
  const auto other = file.read(profile_of("mixtral"));
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_TRUE(other->empty());
}

TEST_F(ExpertHeatFileTest, NothingIsWrittenWhereNoExpertWasUsed) {
  ExpertHeatFile file(state());
  EXPECT_TRUE(file.write(heat_)) << "no model was read";
  ASSERT_TRUE(file.read(profile_));
  EXPECT_TRUE(file.write({}));
  EXPECT_TRUE(file.write({{"blk.0", {0, 0}}}));
  EXPECT_FALSE(fs::exists(state()));
}

TEST_F(ExpertHeatFileTest, ADamagedFileIsAnErrorAndIsReplaced) {
  ExpertHeatFile file(state());
  ASSERT_TRUE(file.read(profile_));
  ASSERT_TRUE(file.write(heat_));
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[1]"), std::string(R"({"version":2,"experts":{}})"),
        std::string(R"({"version":1,"experts":[]})"), std::string(R"({"version":1,"experts":{"a":[-1]}})"),
        std::string(R"({"version":1,"experts":{"a":["1"]}})"),
        std::string(R"({"version":1,"experts":{"a":[1e9]}})"),
        R"({"version":1,"experts":{}})" + std::string(2 << 20, ' ')}) {
    std::ofstream(only_file()) << text;
    ExpertHeatFile again(state());
    const auto read = again.read(profile_);
    ASSERT_FALSE(read) << text.substr(0, 60);
    EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(read.error().message, testing::HasSubstr("is damaged"));
    ASSERT_TRUE(again.write(heat_));
    const auto mended = again.read(profile_);
    ASSERT_TRUE(mended) << mended.error().message;
    EXPECT_EQ(*mended, heat_);
  }
}

}  // namespace
}  // namespace brimful::engine

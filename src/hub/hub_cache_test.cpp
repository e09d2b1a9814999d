#include "hub/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "hub/temporary_folder.h"

namespace brimful::hub {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string kCommit(40, 'c');
const std::string kHash(64, 'a');

class HubCacheTest : public ::testing::Test {
 protected:
  /// Puts a file into the cache, as a download does.
  void add(const std::string& repository, const std::string& path, const std::string& hash,
           std::size_t size = 9, const std::string& commit = kCommit) {
    fs::create_directories(cache_.blob(repository, hash).parent_path());
    std::ofstream(cache_.blob(repository, hash)) << std::string(size, 'x');
    ASSERT_TRUE(cache_.link(repository, commit, path, hash));
    ASSERT_TRUE(cache_.set_main(repository, commit));
  }

  const TemporaryFolder folder_ = std::move(TemporaryFolder::make().value());
  const HubCache cache_{folder_.path() / "hub"};
};

TEST_F(HubCacheTest, HasTheLayoutOfOtherTools) {
  add("org/model-GGUF", "sub/m-Q4_K_M.gguf", kHash);
  const fs::path repository = folder_.path() / "hub" / "models--org--model-GGUF";
  const fs::path name = repository / "snapshots" / kCommit / "sub" / "m-Q4_K_M.gguf";
  EXPECT_EQ(fs::read_symlink(name), fs::path("../../../blobs") / kHash);
  EXPECT_EQ(fs::file_size(name), 9U);
  std::ifstream main(repository / "refs" / "main");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(main), {}), kCommit) << "without a newline";
  EXPECT_EQ(cache_.lock("org/model-GGUF", kHash),
            folder_.path() / "hub" / ".locks" / "models--org--model-GGUF" / (kHash + ".lock"));
}

TEST_F(HubCacheTest, FindsModelsByName) {
  add("org/model-GGUF", "m-Q4_K_M.gguf", kHash);
  add("org/model-GGUF", "m-Q8_0.gguf", std::string(64, 'b'));
  add("org/model-GGUF", "README.md", std::string(40, 'd'));
  add("other/small", "small.gguf", kHash, 5);
  const auto all = cache_.models();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].name(), "org/model-GGUF:Q4_K_M");
  EXPECT_EQ(all[2].name(), "other/small");
  EXPECT_EQ(all[2].size, Bytes{5});
  const auto usual = cache_.find({"org/model-GGUF", std::nullopt});
  ASSERT_TRUE(usual) << usual.error().message;
  EXPECT_EQ(usual->path, "m-Q4_K_M.gguf");
  EXPECT_EQ(cache_.find({"org/model-GGUF", "q8_0"})->path, "m-Q8_0.gguf");
  EXPECT_THAT(cache_.find({"org/model-GGUF", "Q2_K"}).error().message, HasSubstr("it has: Q4_K_M, Q8_0"));
  EXPECT_THAT(cache_.find({"org/modell", std::nullopt}).error().message,
              HasSubstr("which has org/model-GGUF:Q4_K_M, org/model-GGUF:Q8_0, other/small"));
}

TEST_F(HubCacheTest, NamesTheFileOfTheCommitThatMainIs) {
  const std::string newer(40, '1');
  add("org/m", "m.gguf", kHash);
  add("org/m", "m.gguf", std::string(64, 'b'), 20, newer);
  ASSERT_EQ(cache_.models().size(), 1U);
  EXPECT_EQ(cache_.models()[0].size, Bytes{20});
  ASSERT_TRUE(cache_.set_main("org/m", kCommit));
  EXPECT_EQ(cache_.models()[0].size, Bytes{9});
}

TEST_F(HubCacheTest, ASplitModelIsThereWhenAllItsPartsAre) {
  add("org/m", "m-00001-of-00002.gguf", kHash);
  EXPECT_TRUE(cache_.models().empty());
  add("org/m", "m-00002-of-00002.gguf", std::string(64, 'b'), 20);
  ASSERT_EQ(cache_.models().size(), 1U);
  EXPECT_EQ(cache_.models()[0].size, Bytes{29});
  EXPECT_EQ(cache_.models()[0].blobs.size(), 2U);
}

TEST_F(HubCacheTest, AFileWhoseBlobIsGoneIsNotThere) {
  add("org/m", "m.gguf", kHash);
  fs::remove(cache_.blob("org/m", kHash));
  EXPECT_TRUE(cache_.models().empty());
}

TEST(HubPath, StaysInsideTheRepository) {
  for (const char* good : {"m.gguf", "sub dir/m-Q8_0.gguf", "..m/..gguf"})
    EXPECT_TRUE(is_safe_path(good)) << good;
  for (const char* bad : {"", "/m.gguf", "../m.gguf", "a/../../m.gguf", "a//m.gguf", "a/./m.gguf", "a/", "..",
                          "a\\..\\m.gguf", "a\nb.gguf"})
    EXPECT_FALSE(is_safe_path(bad)) << bad;
  EXPECT_TRUE(is_hash(kHash));
  EXPECT_FALSE(is_hash("../../" + std::string(34, 'a')));
  EXPECT_FALSE(is_hash(std::string(64, 'A')));
}

}  // namespace
}  // namespace brimful::hub

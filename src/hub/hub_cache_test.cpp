#include "hub/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
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

TEST_F(HubCacheTest, FilesOfTheSameTypeAreNamedByTheirPath) {
  add("org/m", "UD/m-Q4_0.gguf", kHash);
  add("org/m", "m-Q4_0.gguf", std::string(64, 'b'));
  const auto all = cache_.models();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name(), "org/m:Q4_0");
  EXPECT_EQ(all[1].name(), "org/m:m-Q4_0.gguf");
  EXPECT_EQ(cache_.find({"org/m", "m-Q4_0.gguf"})->file, all[1].file);
}

TEST_F(HubCacheTest, ABlobIsKeptAsLongAsANameLeadsToIt) {
  const std::string newer(40, '1');
  const std::string other(64, 'b');
  // The same content in two commits and under two names, and another one of the first name.
  add("org/m", "m-Q4_0.gguf", kHash, 9);
  add("org/m", "copy-Q5_0.gguf", kHash, 9, newer);
  add("org/m", "m-Q4_0.gguf", other, 20, newer);
  auto model = cache_.find({"org/m", "Q4_0"});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(cache_.remove(*model), Bytes{20})
      << "the name in both commits, and the blob that no other name has";
  EXPECT_TRUE(fs::exists(cache_.blob("org/m", kHash)));
  EXPECT_FALSE(fs::exists(cache_.blob("org/m", other)));
  ASSERT_EQ(cache_.models().size(), 1U);
  EXPECT_EQ(cache_.remove(cache_.models()[0]), Bytes{9});
  EXPECT_FALSE(fs::exists(cache_.repository_folder("org/m"))) << "no reference to a missing snapshot is left";
}

TEST_F(HubCacheTest, ACopyIsASecondNameOfTheSameBytes) {
  add("org/m", "sub/m-00001-of-00002.gguf", kHash);
  add("org/m", "sub/m-00002-of-00002.gguf", std::string(64, 'b'), 20);
  const auto copied = cache_.copy(cache_.models().at(0), "me/mine");
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_EQ(copied->size, Bytes{29});
  EXPECT_EQ(fs::hard_link_count(cache_.blob("me/mine", kHash)), 2U);
  EXPECT_FALSE(cache_.copy(cache_.models().at(0), "me/mine"));
  EXPECT_EQ(cache_.remove(cache_.find({"org/m", std::nullopt}).value()), Bytes{}) << "the copy has the bytes";
  EXPECT_EQ(cache_.remove(*copied), Bytes{29});
}

/// Writes a repository as Python's huggingface_hub does.
void write_as_python(const fs::path& cache) {
  const fs::path repository = cache / "models--org--model-GGUF";
  for (const char* folder : {"blobs", "refs", "snapshots", ".no_exist"})
    fs::create_directories(repository / folder);
  fs::create_directories(repository / "snapshots" / kCommit);
  fs::create_directories(cache / ".locks" / "models--org--model-GGUF");
  std::ofstream(cache / "CACHEDIR.TAG") << "Signature: 8a477f597d28d172789f06886806bc55";
  std::ofstream(cache / "version.txt") << "1";
  std::ofstream(repository / "blobs" / kHash) << "a model";
  std::ofstream(repository / "blobs" / (std::string(64, 'b') + ".incomplete")) << "half of one";
  std::ofstream(repository / "blobs" / std::string(40, 'd')) << "text";
  std::ofstream(repository / "refs" / "main") << kCommit;
  const fs::path snapshot = repository / "snapshots" / kCommit;
  fs::create_symlink(fs::path("../../blobs") / kHash, snapshot / "m-Q4_K_M.gguf");
  fs::create_symlink(fs::path("../../blobs") / std::string(40, 'd'), snapshot / "README.md");
  fs::create_directories(cache / "datasets--org--texts" / "blobs");
}

TEST_F(HubCacheTest, FindsWhatPythonAndLlamaCppHaveFetched) {
  write_as_python(cache_.folder());
  ASSERT_EQ(cache_.models().size(), 1U);
  EXPECT_EQ(cache_.models()[0].name(), "org/model-GGUF:Q4_K_M");
  EXPECT_TRUE(cache_.unfinished().empty()) << "its unfinished files are its own";
  // llama.cpp writes the same layout; LLAMA_CACHE gives it a place of its own.
  const fs::path llama = folder_.path() / "llama";
  write_as_python(llama);
  add("org/mine", "m-Q8_0.gguf", kHash);
  const HubCache both(cache_.folder(), {llama});
  ASSERT_EQ(both.models().size(), 2U) << "a model that both have is there once";
  const HubCache other(folder_.path() / "empty", {llama});
  const auto found = other.find({"org/model-GGUF", std::nullopt});
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(other.remove(*found), Bytes{7});
  EXPECT_TRUE(fs::exists(llama / "models--org--model-GGUF" / "blobs" / std::string(40, 'd')));
}

TEST(HubCachePlaces, AreThoseOfOtherTools) {
  const std::vector<const char*> names{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "LLAMA_CACHE"};
  for (const char* name : names) ::unsetenv(name);
  const auto folder_with = [](const char* name, const char* value) {
    ::setenv(name, value, 1);
    fs::path folder = HubCache::of_environment().folder();
    ::unsetenv(name);
    return folder;
  };
  const char* const home = std::getenv("HOME");
  EXPECT_EQ(folder_with("HF_HOME", "/x"), "/x/hub");
  EXPECT_EQ(folder_with("HUGGINGFACE_HUB_CACHE", "/old"), "/old");
  EXPECT_EQ(folder_with("HF_HUB_CACHE", "/new"), "/new");
  if (home != nullptr) {
    EXPECT_EQ(folder_with("HF_HUB_CACHE", "~/models"), fs::path(home) / "models");
  }
  EXPECT_EQ(folder_with("HF_HUB_CACHE", "/a/~/b"), "/a/~/b");
}

TEST(CachedName, IsInThePathOfASnapshot) {
  const std::string commit = "/c/models--org--m-GGUF/snapshots/" + kCommit;
  EXPECT_EQ(cached_name(commit + "/m-Q4_K_M.gguf"), "org/m-GGUF:Q4_K_M");
  EXPECT_EQ(cached_name(commit + "/Q8_0/m-00001-of-00002.gguf"), "org/m-GGUF:Q8_0");
  EXPECT_EQ(cached_name(commit + "/m.gguf"), "org/m-GGUF");
  for (const char* other :
       {"", "m.gguf", "/c/models--org--m/blobs/x", "/c/models--org--m/snapshots", "/c/models--org"})
    EXPECT_EQ(cached_name(other), "") << other;
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

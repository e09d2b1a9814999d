// The program fetches models by their name, from a server in this process: `pull`, `-hf`, `list`, `verify`,
// `rm`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "hub_server.h"
#include "program_run.h"
#include "running_program.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kName = "org/model-GGUF";

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class PullCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("no_proxy", "*", 1);
    ::setenv("HF_HUB_CACHE", cache().c_str(), 1);
    ::setenv("HF_HOME", (directory_.path() / "home").c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE"}) ::unsetenv(name);
  }

  fs::path cache() const { return directory_.path() / "hub"; }
  static void use(const HubServer& server) { ::setenv("HF_ENDPOINT", server.address().c_str(), 1); }

  /// The bytes of a model that runs, of about a MiB.
  std::string small_model() const {
    const fs::path file = directory_.path() / "small.gguf";
    const ProgramRun made =
        run_brimful({"synth", "--like", "llama-tiny", "--type", "Q8_0", "-o", file.string(), "--force"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return content_of(file);
  }

  TemporaryDirectory directory_;
};

TEST_F(PullCommand, FetchesListsChecksAndRemovesAModel) {
  const std::string content = random_text(3'000'000);
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", content}, {"m-Q8_0.gguf", "other"}});
  use(server);
  const ProgramRun pulled = run_brimful({"pull", kName});
  ASSERT_EQ(pulled.exit_code, 0) << pulled.err;
  EXPECT_THAT(pulled.out, EndsWith("/m-Q4_K_M.gguf\n"));
  const fs::path file = pulled.out.substr(0, pulled.out.size() - 1);
  EXPECT_THAT(file.string(), StartsWith(cache().string()));
  EXPECT_TRUE(content_of(file) == content);
  EXPECT_THAT(pulled.err, HasSubstr("fetching m-Q4_K_M.gguf: 2.9 MiB"));

  const ProgramRun listed = run_brimful({"list"});
  EXPECT_THAT(listed.out, AllOf(HasSubstr("org/model-GGUF:Q4_K_M"), HasSubstr("2.9 MiB")));
  const ProgramRun right = run_brimful({"verify"});
  EXPECT_EQ(right.exit_code, 0) << right.err;
  EXPECT_EQ(right.out, "org/model-GGUF:Q4_K_M: right\n");
  std::fstream(file, std::ios::binary | std::ios::in | std::ios::out).put('!');
  const ProgramRun wrong = run_brimful({"verify", kName});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.out, HasSubstr("WRONG"));

  expect_refused(run_brimful({"rm", "org/model-GGUF:Q5_0"}), "it has: Q4_K_M");
  const ProgramRun removed = run_brimful({"rm", kName});
  EXPECT_EQ(removed.out, "removed org/model-GGUF:Q4_K_M: 2.9 MiB are free now\n") << removed.err;
  EXPECT_FALSE(fs::exists(file));
  EXPECT_THAT(run_brimful({"list"}).out, HasSubstr("no model in"));
}

TEST_F(PullCommand, ContinuesAfterKillsAtAnyByte) {
  const std::string content = random_text(60'000'000);
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", content}});
  use(server);
  std::minstd_rand random(7);
  for (int kills = 0; kills < 4; ++kills) {
    // A test waits for bytes and not for a time: at some byte of the next fifth of the file.
    const std::uint64_t until = server.server().bytes_sent() + random() % (content.size() / 5);
    RunningProgram pull({"pull", kName, "--limit-rate", "40MiB"});
    while (server.server().bytes_sent() < until && !pull.has_ended())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    pull.kill();
  }
  EXPECT_THAT(run_brimful({"list"}).out, HasSubstr("a download is not finished"));
  const ProgramRun last = run_brimful({"pull", kName});
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_TRUE(content_of(last.out.substr(0, last.out.size() - 1)) == content);
  const ProgramRun checked = run_brimful({"verify"});
  EXPECT_EQ(checked.out, "org/model-GGUF:Q4_K_M: right\n") << checked.err;
}

TEST_F(PullCommand, RunsAModelFromItsName) {
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", small_model()}});
  use(server);
  const std::vector<std::string> one{"-p", "1 2 3", "-n", "4", "--raw", "--ram", kAmpleRam, "-s", "1"};
  const auto with = [&](std::vector<std::string> begin) {
    begin.insert(begin.end(), one.begin(), one.end());
    return run_brimful(begin);
  };
  const ProgramRun first = with({"run", "-hf", kName});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.err, HasSubstr("fetching m-Q4_K_M.gguf"));
  EXPECT_LT(first.err.find("fits: "), first.err.find("fetching")) << first.err;
  EXPECT_THAT(first.err, HasSubstr("; Q4_K_M, "));
  const std::size_t requests = server.server().requests().size();
  const ProgramRun second = with({"run", "-hf", kName});
  EXPECT_EQ(second.out, first.out) << second.err;
  EXPECT_THAT(second.err, Not(HasSubstr("fetching")));
  const ProgramRun named = with({"run", "-m", "org/model-GGUF:Q4_K_M"});
  EXPECT_EQ(named.out, first.out) << named.err;
  EXPECT_EQ(server.server().requests().size(), requests) << "the cache has it";
  const ProgramRun shown = run_brimful({"show", "-hf", kName});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
}

TEST_F(PullCommand, AModelThatDoesNotFitIsNotFetched) {
  const std::string model = small_model();
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", model}});
  use(server);
  const ProgramRun run = run_brimful({"run", "-hf", kName, "-p", "1", "--raw", "--ram", "1MiB"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, AllOf(HasSubstr("does not fit --ram"), HasSubstr("nothing was fetched")));
  EXPECT_LT(server.server().bytes_sent(), model.size()) << "only the header";
  EXPECT_THAT(run_brimful({"list"}).out, HasSubstr("no model in"));
}

TEST_F(PullCommand, BadInputIsOneLine) {
  const HubServer server(HubServer::Files{{"README.md", "text"}});
  use(server);
  expect_refused(run_brimful({"pull", kName}), "it has no GGUF model");
  expect_refused(run_brimful({"pull", "org/other"}), "(404)");
  expect_refused(run_brimful({"pull", "name"}), "ORGANISATION/REPOSITORY");
  expect_refused(run_brimful({"run", "-m", "org/model", "-p", "x"}),
                 "there is no such file, and org/model: is not in the cache");
  expect_refused(run_brimful({"run", "-m", "a.gguf", "-hf", kName, "-p", "x"}), "not both");
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  expect_refused(run_brimful({"pull", kName}), "HF_HUB_OFFLINE");
  expect_refused(run_brimful({"run", "-hf", kName, "-p", "x"}), "is not in the cache");
  EXPECT_EQ(server.file_requests(), 0U);
}

}  // namespace
}  // namespace brimful::tests

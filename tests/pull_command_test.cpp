// The program fetches models by their name, from a server in this process: `pull`, `-hf`, `list`, `verify`,
// `rm`, `cp`, `stop`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "batch_requests.h"
#include "hub_cache_fixture.h"
#include "running_program.h"
#include "runtime_directory.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class PullCommand : public HubCacheFixture {};

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

TEST_F(PullCommand, EachCommandThatRunsAModelTakesItsName) {
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", small_model()}});
  use(server);
  const RuntimeDirectory runtime;
  const ProgramRun planned =
      run_brimful({"plan", "-hf", kName, "--like", "64gb-ddr4-3600, nvme-gen3", "-c", "512", "--json"});
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_EQ(nlohmann::json::parse(planned.out)["model"], kName);
  EXPECT_LT(server.server().bytes_sent(), small_model().size()) << "only the header";

  const fs::path requests = directory_.path() / "requests.jsonl";
  const fs::path answers = directory_.path() / "answers.jsonl";
  std::ofstream(requests) << some_lines(2, 4);
  const ProgramRun batch = run_brimful({"batch", "-hf", kName, "-i", requests.string(), "-o",
                                        answers.string(), "--ram", kAmpleRam, "-c", "512"});
  ASSERT_EQ(batch.exit_code, 0) << batch.err;
  EXPECT_LT(batch.err.find("fits: "), batch.err.find("fetching")) << batch.err;
  EXPECT_EQ(outcomes_of(content_of(answers)).size(), 2U);

  RunningProgram served({"serve", "-hf", kName, "--ram", kAmpleRam, "-c", "512", "--max-num-seqs", "2",
                         "--port", "0", "-t", "1"});
  ASSERT_TRUE(served.says("listening on http://127.0.0.1:")) << served.said();

  const ProgramRun listed = run_brimful({"ps"});
  EXPECT_THAT(listed.out, HasSubstr("org/model-GGUF:Q4_K_M")) << listed.err;
  const auto running = nlohmann::json::parse(run_brimful({"ps", "--json"}).out);
  ASSERT_EQ(running.size(), 1U);
  EXPECT_EQ(running[0]["name"], "org/model-GGUF:Q4_K_M");
  expect_refused(run_brimful({"rm", kName}), "runs it: 'brimful stop");
  EXPECT_EQ(run_brimful({"stop", "org/other"}).exit_code, 1);
  EXPECT_EQ(run_brimful({"stop", kName}).exit_code, 0);
  EXPECT_EQ(served.wait(), 0) << served.said();
  EXPECT_EQ(run_brimful({"ps"}).out, "no model is running\n");
  EXPECT_EQ(run_brimful({"ps", "--json"}).out, "[]\n");
  EXPECT_EQ(run_brimful({"rm", kName}).exit_code, 0);
}

TEST_F(PullCommand, AModelCanHaveASecondName) {
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", random_text(3'000'000)}});
  use(server);
  ASSERT_EQ(run_brimful({"pull", kName}).exit_code, 0);
  expect_refused(run_brimful({"cp", kName, "me/assistant:Q8_0"}), "a copy keeps its quantization");
  expect_refused(run_brimful({"cp", "org/model-GGU", "me/assistant"}), "do you mean");
  expect_refused(run_brimful({"cp", kName, "../assistant"}), "is not the name of a model");
  const ProgramRun copied = run_brimful({"cp", kName, "me/assistant"});
  ASSERT_EQ(copied.exit_code, 0) << copied.err;
  EXPECT_THAT(copied.out, HasSubstr("me/assistant:Q4_K_M"));
  expect_refused(run_brimful({"cp", kName, "me/assistant"}), "has a model of this name already");
  const auto listed = nlohmann::json::parse(run_brimful({"list", "--json"}).out);
  ASSERT_EQ(listed["models"].size(), 2U);
  EXPECT_EQ(listed["models"][0]["hashes"], listed["models"][1]["hashes"]);
  EXPECT_EQ(listed["models"][0]["quantization"], "Q4_K_M");
  EXPECT_EQ(run_brimful({"rm", kName}).out, "removed org/model-GGUF:Q4_K_M: 0 B are free now\n");
  EXPECT_EQ(run_brimful({"verify", "me/assistant"}).out, "me/assistant:Q4_K_M: right\n");
  EXPECT_EQ(run_brimful({"rm", "me/assistant"}).out, "removed me/assistant:Q4_K_M: 2.9 MiB are free now\n");
}

TEST_F(PullCommand, AModelThatChangesOnTheHubIsFetchedAsItWas) {
  const std::string before = random_text(9'000'000);
  const std::string after = random_text(9'000'000, 2);
  const std::string newer(40, 'f');
  HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", before}});
  use(server);
  {
    RunningProgram pull({"pull", kName, "--limit-rate", "20MiB"});
    ASSERT_TRUE(pull.says("fetching"));
    server.push(newer, {{"m-Q4_K_M.gguf", after}});
    ASSERT_EQ(pull.wait(), 0) << pull.said();
    EXPECT_TRUE(content_of(pull.written().substr(0, pull.written().find('\n'))) == before);
  }
  const ProgramRun second = run_brimful({"pull", kName});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.out, HasSubstr(newer));
  EXPECT_TRUE(content_of(file_of(second)) == after);
  EXPECT_EQ(nlohmann::json::parse(run_brimful({"list", "--json"}).out)["models"].size(), 1U);
  EXPECT_EQ(run_brimful({"rm", kName}).exit_code, 0);
  EXPECT_FALSE(fs::exists(cache() / "models--org--model-GGUF")) << "both commits' files";
}

TEST_F(PullCommand, TwoAtOnceFetchAFileOnce) {
  const std::string content = random_text(30'000'000);
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", content}});
  use(server);
  RunningProgram first({"pull", kName, "--limit-rate", "30MiB"});
  ASSERT_TRUE(first.says("fetching"));
  RunningProgram second({"pull", kName});
  ASSERT_TRUE(second.says("another process fetches this file"));
  EXPECT_EQ(first.wait(), 0) << first.said();
  EXPECT_EQ(second.wait(), 0) << second.said();
  EXPECT_EQ(first.written(), second.written());
  // What was on its way when a connection gave the rest of its span away is sent in vain.
  EXPECT_LT(server.server().bytes_sent(), 2 * content.size());
}

TEST_F(PullCommand, AnUnfinishedDownloadCanBeRemovedBesideAModel) {
  const HubServer server(
      HubServer::Files{{"m-Q4_K_M.gguf", random_text(1000)}, {"m-Q8_0.gguf", random_text(40'000'000)}});
  use(server);
  ASSERT_EQ(run_brimful({"pull", kName}).exit_code, 0);
  RunningProgram pull({"pull", "org/model-GGUF:Q8_0", "--limit-rate", "4MiB"});
  ASSERT_TRUE(pull.says("fetching"));
  expect_refused(run_brimful({"rm", "--unfinished", kName}), "another process fetches this file");
  pull.kill();
  EXPECT_EQ(run_brimful({"rm", "--unfinished", kName}).exit_code, 0);
  expect_refused(run_brimful({"rm", "--unfinished", kName}), "no download of it is unfinished");
  EXPECT_EQ(run_brimful({"list"}).out.find("not finished"), std::string::npos);
  EXPECT_EQ(run_brimful({"verify"}).out, "org/model-GGUF:Q4_K_M: right\n");
}

TEST_F(PullCommand, OnlyTheHeaderOfAFileIsReadToShowIt) {
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", small_model("F16")}}, {},
                         {{"m-Q4_K_M.gguf", std::uint64_t{1} << 33}});
  use(server);
  const ProgramRun shown = run_brimful({"show", "-hf", kName, "--json"});
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_EQ(nlohmann::json::parse(shown.out)["architecture"], "llama");
  EXPECT_LT(server.server().bytes_sent(), 4U << 20);
  EXPECT_FALSE(fs::exists(cache())) << "nothing is kept";
}

TEST_F(PullCommand, WhatIsNoModelIsNotFetched) {
  std::string model = small_model();
  const std::size_t name = model.find("llama");
  model.replace(name, 5, "xlama");
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", model + random_text(20'000'000)},
                                          {"mmproj-m-F16.gguf", "x"},
                                          {"m-imatrix.gguf", "x"},
                                          {"mmproj/m-Q4_K_M.gguf", "x"}});
  use(server);
  expect_refused(run_brimful({"run", "-hf", kName, "-p", "x"}), "nothing was fetched (Q4_K_M)");
  EXPECT_LT(server.server().bytes_sent(), 4U << 20);
}

TEST_F(PullCommand, NearNamesAreShown) {
  HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", "x"}, {"m-Q8_0.gguf", "x"}});
  server.find({"org/other-GGUF", "org/model-GGUF", "org/modest-GGUF"});
  use(server);
  expect_refused(run_brimful({"pull", "org/modle-GGUF"}), "the hub has org/model-GGUF, org/modest-GGUF");
  expect_refused(run_brimful({"run", "-hf", "org/modle-GGUF", "-p", "x"}), "the hub has org/model-GGUF");
  expect_refused(run_brimful({"pull", "org/model-GGUF:q4km"}), "do you mean 'Q4_K_M'?");
  HubServer none(HubServer::Files{{"model.safetensors", "x"}});
  none.find({"quants/model-GGUF"});
  use(none);
  expect_refused(run_brimful({"pull", kName}), "it has no GGUF model");
  EXPECT_THAT(run_brimful({"pull", kName}).err, HasSubstr("the hub has quants/model-GGUF"));
}

TEST_F(PullCommand, AWronglyTypedNameIsAnsweredWithTheRightOne) {
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", "x"}});
  use(server);
  const auto refused = [](std::vector<std::string> arguments, const std::string& text) {
    arguments.insert(arguments.begin(), "run");
    const ProgramRun run = run_brimful(arguments);
    EXPECT_NE(run.exit_code, 0);
    expect_refused(run, text);
  };
  refused({"-hf"}, "ORG/REPO[:QUANT] missing");
  refused({"-hf", "gemma"}, "https://huggingface.co/models?library=gguf&search=gemma");
  refused({"-hf", "org/model-GGUF/m-Q4_K_M.gguf"}, "write org/model-GGUF:m-Q4_K_M.gguf");
  refused({"-hf", "org/model-GGUF:"}, "leave the colon out");
  refused({"-hf", kName, "Q4_K_M"}, "write -hf org/model-GGUF:Q4_K_M");
  refused({"-hf", kName, "Why is the sky blue?"}, "a prompt is given with -p");
  refused({kName, "-p", "x"}, "-hf org/model-GGUF downloads it");
  refused({"-hf", "org/model-GGUF:Q4_KM", "-p", "x"}, "do you mean 'Q4_K_M'?");
  refused({"-hf", "org/model-GGUF:m-Q4_KM.gguf", "-p", "x"}, "do you mean 'm-Q4_K_M.gguf'?");
  refused({"-hf", "org/model GGUF", "-p", "x"}, "is not the name of a model");
  refused({"--hfrepo", kName}, "do you mean '--hf-repo'?");
  expect_refused(run_brimful({"-hf", kName}), "as in: brimful run -hf");
  EXPECT_EQ(server.file_requests(), 0U);
}

TEST_F(PullCommand, ACacheThatCannotBeWrittenIsOneLine) {
  const HubServer server(HubServer::Files{{"m-Q4_K_M.gguf", random_text(1000)}});
  use(server);
  fs::create_directory(cache());
  ASSERT_EQ(::chmod(cache().c_str(), 0555), 0);
  expect_refused(run_brimful({"pull", kName}), "HF_HUB_CACHE names another cache");
  expect_refused(run_brimful({"run", "-hf", kName, "-p", "x"}), "HF_HUB_CACHE names another cache");
  ASSERT_EQ(::chmod(cache().c_str(), 0755), 0);
}

TEST_F(PullCommand, WithoutTheHubAModelOfTheCacheIsUsed) {
  const std::vector<std::string> run{"run", "-hf",   kName,   "-p",      "1",  "-n",
                                     "1",   "--raw", "--ram", kAmpleRam, "-s", "1"};
  {
    const HubServer server(HubServer::Files{{"m-Q8_0.gguf", small_model()}});
    use(server);
    ASSERT_EQ(run_brimful(run).exit_code, 0);
  }
  // A hub may have a Q4_K_M by now, but nobody answers.
  const ProgramRun alone = run_brimful(run);
  EXPECT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_THAT(alone.err, HasSubstr("using org/model-GGUF:Q8_0 of the cache"));
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
  expect_refused(run_brimful({"run", "--offline", "-hf", kName, "-p", "x"}), "--offline");
  expect_refused(run_brimful({"run", "-hf", kName, "--limit-rate", "1", "-p", "x"}), "--limit-rate 1:");
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  expect_refused(run_brimful({"pull", kName}), "HF_HUB_OFFLINE");
  expect_refused(run_brimful({"run", "-hf", kName, "-p", "x"}), "is not in the cache");
  EXPECT_EQ(server.file_requests(), 0U);
}

}  // namespace
}  // namespace brimful::tests

// --fit: the program chooses the quantization of a model of the hub by budgets and speed, from the headers of
// its files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "hub_cache_fixture.h"
#include "synth_model.h"

namespace brimful::tests {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kDesktop = "rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3, 8c16t";
constexpr std::size_t kMostOfAHeader = 2 << 20;

/// A hub with the headers of one large model in several types. Its weights are zeros that nobody reads.
class FitCommand : public HubCacheFixture {
 protected:
  void SetUp() override {
    HubCacheFixture::SetUp();
    use(server());
  }

  /// All tests share the server, because it only answers.
  static const HubServer& server() {
    static const HubServer one = make_server();
    return one;
  }

  static HubServer make_server() {
    HubServer::Files files{{"README.md", "text"}, {"mmproj-m-F16.gguf", "no model"}};
    HubServer::Sizes sizes;
    for (const char* type : {"F16", "Q8_0", "Q6_K", "Q4_K", "Q2_K"}) {
      const auto model = synth::design_synth({.like = "llama-7b", .type = type});
      EXPECT_TRUE(model) << type;
      const synth::SynthFile& file = model->files.front();
      const std::string path = std::string("m-") + type + ".gguf";
      files[path] = {reinterpret_cast<const char*>(file.header.data()), file.header.size()};
      sizes[path] = file.size.value;
    }
    // A small model among them is another one.
    const auto small = synth::design_synth({.like = "llama-tiny", .type = "Q8_0"});
    const synth::SynthFile& file = small->files.front();
    files["other-Q5_0.gguf"] = {reinterpret_cast<const char*>(file.header.data()), file.header.size()};
    sizes["other-Q5_0.gguf"] = file.size.value;
    return HubServer(std::move(files), {}, std::move(sizes));
  }

  static ProgramRun plan(const std::string& fit, std::vector<std::string> more = {}) {
    std::vector<std::string> all{"plan", "-hf", kName, "--fit", fit, "--like", kDesktop, "-c", "512"};
    all.insert(all.end(), more.begin(), more.end());
    return run_brimful(all);
  }
  static nlohmann::json planned(const std::string& fit) {
    const ProgramRun run = plan(fit, {"--json"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out, nullptr, false);
  }
  /// What --fit says of one type.
  static nlohmann::json row(const nlohmann::json& fit, const std::string& tag) {
    for (const auto& one : fit["models"]) {
      if (one["tag"] == tag) return one;
    }
    return nullptr;
  }
};

TEST_F(FitCommand, TakesTheBestThatLiesInTheBudgetsAsAWhole) {
  const std::uint64_t before = server().server().bytes_sent();
  const nlohmann::json json = planned("vram=3GiB,ram=4GiB");
  const nlohmann::json& fit = json["fit"];
  EXPECT_EQ(fit["chosen"], "Q6_K") << fit;
  EXPECT_EQ(json["read_bytes_per_pass"], 0);
  EXPECT_EQ(row(fit, "F16")["verdict"], "not planned") << "it is larger than the budgets";
  EXPECT_EQ(row(fit, "Q8_0")["verdict"], "reads from the disk");
  EXPECT_GT(row(fit, "Q8_0")["read_bytes_per_token"], 0);
  EXPECT_EQ(row(fit, "Q6_K")["decode_tokens_per_second"], json["decode_tokens_per_second"]);
  EXPECT_GT(row(fit, "Q4_K")["decode_tokens_per_second"], json["decode_tokens_per_second"])
      << "the neighbour below";
  EXPECT_EQ(row(fit, "Q2_K")["verdict"], "not planned");
  EXPECT_TRUE(row(fit, "Q5_0").is_null());
  EXPECT_LT(server().server().bytes_sent() - before, 6 * kMostOfAHeader) << "only headers";
}

TEST_F(FitCommand, TakesAModelThatReadsFromTheDiskWhereItIsFastEnough) {
  const nlohmann::json slow = planned("vram=3GiB,ram=4GiB,tps=0.2");
  EXPECT_EQ(slow["fit"]["chosen"], "F16") << slow["fit"];
  const double speed = row(slow["fit"], "Q8_0")["decode_tokens_per_second"];
  const double best = slow["decode_tokens_per_second"];
  const nlohmann::json fast = planned("vram=3GiB,ram=4GiB,tps=" + std::to_string((speed + best) / 2));
  EXPECT_EQ(fast["fit"]["chosen"], "Q8_0");
  EXPECT_EQ(row(fast["fit"], "F16")["verdict"], "too slow");
}

TEST_F(FitCommand, ShowsPeopleATable) {
  const ProgramRun run = plan("vram=3GiB,ram=4GiB");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("> Q6_K "), HasSubstr("chosen"), HasSubstr("  Q8_0 "),
                    HasSubstr("reads from the disk"), HasSubstr("fits, too"), HasSubstr("It fits.")));
  EXPECT_THAT(run.err, HasSubstr("by their headers"));
}

TEST_F(FitCommand, SaysWhatIsPossibleWhereNothingIsAsWanted) {
  const ProgramRun small = plan("vram=1GiB,ram=1GiB");
  EXPECT_EQ(small.exit_code, 3);
  EXPECT_THAT(small.err, AllOf(HasSubstr("lies in these budgets as a whole"), HasSubstr("tps=N")));
  const ProgramRun fast = plan("vram=3GiB,ram=4GiB,tps=10000", {"--json"});
  EXPECT_EQ(fast.exit_code, 3);
  const auto json = nlohmann::json::parse(fast.out);
  EXPECT_EQ(json["fits"], false);
  EXPECT_EQ(json["fit"]["chosen"], nullptr);
  EXPECT_EQ(row(json["fit"], "Q2_K")["verdict"], "too slow");
  EXPECT_THAT(fast.err, HasSubstr("gives 10000 tokens/s within these budgets: Q2_K gives"));
}

TEST_F(FitCommand, RefusesWhatContradictsItself) {
  expect_refused(plan("ram=4"), "use a unit");
  expect_refused(plan("ram"), "give budgets");
  expect_refused(plan("tps=fast"), "no number of tokens/s");
  expect_refused(plan("ram=4GiB,ram=5GiB"), "twice");
  expect_refused(plan("ram=4GiB", {"--ram", "5GiB"}), "name the same budget");
  expect_refused(run_brimful({"plan", "-m", "x.gguf", "--fit", "ram=4GiB"}), "name it with -hf");
  expect_refused(run_brimful({"run", "-m", "x.gguf", "-p", "x", "--fit", "ram=4GiB"}), "name it with -hf");
  expect_refused(run_brimful({"pull", "org/model-GGUF:Q8_0", "--fit", "ram=4GiB"}), "without ':Q8_0'");
  expect_refused(run_brimful({"pull", kName, "--like", kDesktop}), "are for --fit");
}

/// A hub with small models that run.
class FitRun : public HubCacheFixture {};

TEST_F(FitRun, OnlyTheChosenOneIsFetched) {
  const HubServer server(
      HubServer::Files{{"m-F16.gguf", small_model("F16")}, {"m-Q4_0.gguf", small_model("Q4_0")}});
  use(server);
  const std::vector<std::string> more{"-p", "1 2", "-n", "2", "--raw", "-c", "512", "-s", "1"};
  std::vector<std::string> command{"run", "-hf", kName, "--fit", std::string("ram=") + kAmpleRam};
  command.insert(command.end(), more.begin(), more.end());
  const ProgramRun run = run_brimful(command);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("> F16 "), HasSubstr("fetching m-F16.gguf"),
                             Not(HasSubstr("fetching m-Q4")), HasSubstr("-hf org/model-GGUF:F16 takes it")));
  // The second time, no header of it is fetched, and offline nothing at all.
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  const std::size_t requests = server.server().requests().size();
  const ProgramRun again = run_brimful(command);
  EXPECT_EQ(again.out, run.out) << again.err;
  EXPECT_EQ(server.server().requests().size(), requests);
  ::unsetenv("HF_HUB_OFFLINE");

  const ProgramRun pulled = run_brimful({"pull", kName, "--fit", "ram=1GiB", "--json"});
  ASSERT_EQ(pulled.exit_code, 0) << pulled.err;
  const auto json = nlohmann::json::parse(pulled.out);
  EXPECT_EQ(json["quantization"], "F16");
  EXPECT_EQ(json["fit"]["chosen"], "F16");
  EXPECT_TRUE(std::filesystem::exists(json["file"].get<std::string>()));

  command[4] = "ram=1MiB";
  const ProgramRun none = run_brimful(command);
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.err, AllOf(HasSubstr("nothing was fetched"), HasSubstr("does not fit")));
}

}  // namespace
}  // namespace brimful::tests

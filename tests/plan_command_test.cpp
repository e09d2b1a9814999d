// `brimful plan` and `brimful probe` as people and programs use them.

#include <brimful/model.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "model_server.h"
#include "program_run.h"
#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr const char* kDesktop = "64gb-ddr4-3600, nvme-gen3, 8c16t";
constexpr const char* kDesktopWithGpu = "rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3, 8c16t";

class PlanProgram : public testing::Test {
 protected:
  std::vector<std::string> command(std::vector<std::string> more) const {
    std::vector<std::string> all{"plan", "-m", model_.string(), "-t", "2", "-c", "512", "-ub", "64"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] nlohmann::json plan(std::vector<std::string> more, int exit_code = 0) const {
    more.emplace_back("--json");
    const ProgramRun run = run_brimful(command(std::move(more)));
    EXPECT_EQ(run.exit_code, exit_code) << run.err;
    return nlohmann::json::parse(run.out, nullptr, false);
  }
  /// Returns a budget with which half of the weights stream.
  [[nodiscard]] std::string tight() const {
    const nlohmann::json all = plan({"--like", kDesktop, "--ram", "200MiB"});
    return std::to_string(all["peak_bytes"]["host"]["total"].get<std::uint64_t>() -
                          all["weights_bytes"].get<std::uint64_t>() / 2);
  }
  [[nodiscard]] std::string file(const char* name) const { return (directory_.path() / name).string(); }

  TemporaryDirectory directory_;
  const std::filesystem::path model_ = synth_model(directory_, {.like = "llama-tiny", .type = "F16"});
};

TEST_F(PlanProgram, AddsUpToTheBudgetAndSaysHowFast) {
  const nlohmann::json json = plan({"--like", kDesktop, "--ram", "90MiB"});
  ASSERT_EQ(json["fits"], true);
  std::uint64_t sum = 0;
  for (const auto& [owner, bytes] : json["peak_bytes"]["host"].items()) {
    if (owner != "total") sum += bytes.get<std::uint64_t>();
  }
  EXPECT_EQ(json["peak_bytes"]["host"]["total"], sum);
  EXPECT_LE(sum, json["budget_bytes"]["host"].get<std::uint64_t>());
  for (const char* rate :
       {"decode_tokens_per_second", "prompt_tokens_per_second", "load_seconds", "first_token_seconds"})
    EXPECT_GT(json[rate], 0) << rate;
}

TEST_F(PlanProgram, IsCarriedOutExactlyByRun) {
  const nlohmann::json json = plan({"--like", kDesktop, "--ram", tight()});
  ASSERT_EQ(json["fits"], true);
  ASSERT_GT(json["streamed_bytes_per_pass"], 0);
  std::ofstream(file("plan.json")) << json;
  const ProgramRun run = run_brimful({"run", "--plan", file("plan.json"), "--raw", "-p", "Once", "-n", "4",
                                      "--temp", "0", "--ignore-eos", "--stats", file("stats.json")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  std::ifstream in(file("stats.json"));
  const nlohmann::json stats = nlohmann::json::parse(in);
  EXPECT_EQ(stats["budget_bytes"], json["budget_bytes"]);
  EXPECT_EQ(stats["weights_bytes"]["resident"], json["resident_weights_bytes"]);
  EXPECT_EQ(stats["weights_bytes"]["streamed_per_pass"], json["streamed_bytes_per_pass"]);
  for (const char* owner : {"weights", "ring", "kv_cache", "compute", "draft_model"})
    EXPECT_EQ(stats["memory_bytes"][owner], json["peak_bytes"]["host"][owner]) << owner;
}

TEST_F(PlanProgram, ARunThatContradictsItsPlanIsRefused) {
  std::ofstream(file("plan.json")) << plan({"--like", kDesktop, "--ram", "90MiB"});
  std::ofstream(file("no-plan.json")) << "{}";
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> all{"run", "-m", model_.string(), "--raw", "-p", "x", "-n", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return run_brimful(all);
  };
  expect_refused(run({"--plan", file("plan.json"), "-c", "1024"}), "-c has another value than in the plan");
  expect_refused(run({"--plan", file("no-plan.json")}), "does not fit");
  expect_refused(run({"--plan", file("absent.json")}), "the plan cannot be read");
  expect_refused(run({"--plan", model_.string()}), "not a plan");
}

TEST_F(PlanProgram, IsForOneModelWhereverItLies) {
  std::ofstream(file("plan.json")) << plan({"--like", kDesktop, "--ram", "90MiB"});
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> all{"run", "--plan", file("plan.json"), "--raw", "-p", "x", "-n", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return run_brimful(all);
  };
  std::filesystem::copy_file(model_, file("copy.gguf"));
  EXPECT_EQ(run({"-m", file("copy.gguf")}).exit_code, 0) << "the same header";
  const auto other = synth::design_synth({.like = "llama-tiny", .type = "Q8_0"});
  ASSERT_TRUE(other && synth::write_synth(*other, file("other.gguf"), true, nullptr));
  expect_refused(run({"-m", file("other.gguf")}), "other.gguf has another header");
  const ProgramRun none = run_brimful({"run", "--raw", "-p", "x"});
  EXPECT_EQ(none.exit_code, 2);
  expect_refused(none, "-m FILE, or --plan FILE");
}

TEST_F(PlanProgram, AModelWithAShortContextIsPlannedForThatContext) {
  const auto design = synth::design_synth({.like = "llama-tiny", .type = "F16", .context = 256});
  ASSERT_TRUE(design && synth::write_synth(*design, file("short.gguf"), true, nullptr));
  const auto planned = [&](std::vector<std::string> more) {
    std::vector<std::string> all{"plan", "-m", file("short.gguf"), "-t", "2", "--like", kDesktop, "--json"};
    all.insert(all.end(), more.begin(), more.end());
    const ProgramRun run = run_brimful(all);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out, nullptr, false);
  };
  const nlohmann::json usual = planned({});
  EXPECT_EQ(usual["run"]["context"], 256);
  EXPECT_EQ(usual["workload"]["prompt_tokens"], 128) << "half is left to the answer";
  const nlohmann::json given = planned({"--prompt-tokens", "512"});
  EXPECT_EQ(given["workload"]["prompt_tokens"], 256);
  EXPECT_NE(given["notes"].dump().find("the context holds only 256"), std::string::npos) << given["notes"];
  EXPECT_GE(planned({"--for", "batch:8"})["run"]["context"], 8 * 128) << "each has its own";
}

TEST_F(PlanProgram, APassOfManyRequestsMayBeLongerThanTheContextOfEach) {
  const nlohmann::json json = plan({"--like", kDesktop, "--for", "batch:8", "-c", "128", "-ub", "512"});
  ASSERT_EQ(json["fits"], true) << json;
  EXPECT_EQ(json["run"]["ubatch"], 512);
  EXPECT_GT(json["prompt_tokens_per_second"], 0);
}

TEST_F(PlanProgram, ALongContextThatFitsTheGpuHardlySlowsAModelThatDoesNot) {
  ASSERT_EQ(
      run_brimful({"synth", "--like", "llama-70b", "--type", "Q4_K", "--header-only", "-o", file("70b.gguf")})
          .exit_code,
      0);
  const auto behind = [&](const char* tokens) {
    const ProgramRun run =
        run_brimful({"plan",  "-m",   file("70b.gguf"),  "--json", "--vram", "11.5GiB",      "--ram",
                     "56GiB", "-c",   "32768",           "-ub",    "512",    "-ctk",         "q8_0",
                     "-ctv",  "q8_0", "--prompt-tokens", tokens,   "--like", kDesktopWithGpu});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return nlohmann::json::parse(run.out, nullptr, false);
  };
  const nlohmann::json few = behind("512");
  const nlohmann::json many = behind("32000");
  EXPECT_GE(many["decode_tokens_per_second"].get<double>(),
            few["decode_tokens_per_second"].get<double>() * 0.8);
  // 80 layers of 71 MB: more than a third of the card.
  EXPECT_GT(many["peak_bytes"]["CUDA0"]["kv_cache"], std::uint64_t{80} * 71'000'000);
  EXPECT_LT(many["peak_bytes"]["host"]["kv_cache"], 1U << 26);
  EXPECT_LE(many["peak_bytes"]["CUDA0"]["total"], std::uint64_t{23} << 29);
}

TEST_F(PlanProgram, NotFittingIsAResultAndNotFindingOutIsAnError) {
  const ProgramRun small = run_brimful(command({"--like", kDesktop, "--ram", "20MiB"}));
  EXPECT_EQ(small.exit_code, 3);
  EXPECT_NE(small.err.find("are missing; --ram "), std::string::npos) << small.err;
  EXPECT_EQ(plan({"--like", kDesktop, "--ram", "20MiB"}, 3)["fits"], false);

  const ProgramRun run = run_brimful({"run", "-m", model_.string(), "-t", "2", "-c", "512", "-ub", "64",
                                      "--ram", "20MiB", "--raw", "-p", "x", "-n", "1"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_NE(run.err.find("are missing; --ram "), std::string::npos) << run.err;

  EXPECT_EQ(run_brimful({"plan", "-m", file("absent.gguf"), "--like", kDesktop}).exit_code, 1);
  expect_refused(run_brimful(command({"--like", "quantum-9000, 64gb-ddr4-3600, nvme-gen3"})), "quantum-9000");
  expect_refused(run_brimful(command({"--like", kDesktop, "--for", "everyone"})), "--for everyone");
  expect_refused(run_brimful(command({"--like", kDesktop, "--vram", "8GiB"})), "--vram");
}

TEST_F(PlanProgram, SaysWhichOfTwoGpusABudgetIsFor) {
  const std::string machine = std::string("rtx-3060-12gb, ") + kDesktopWithGpu;
  const ProgramRun run = run_brimful(command({"--like", machine, "--vram", "1GiB", "--ram", "200MiB"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE((run.out + run.err).find("is the budget of CUDA0 only"), std::string::npos) << run.out << run.err;
}

TEST_F(PlanProgram, FillsTheGpuToItsBudget) {
  const nlohmann::json json = plan({"--like", kDesktopWithGpu, "--vram", "1GiB", "--ram", "200MiB"});
  ASSERT_EQ(json["fits"], true) << json;
  const nlohmann::json gpu = json["peak_bytes"]["CUDA0"];
  EXPECT_GT(gpu["weights"], 0);
  EXPECT_LE(gpu["total"], 1U << 30);
  EXPECT_GT(json["decode_tokens_per_second"],
            plan({"--like", kDesktop, "--ram", "200MiB"})["decode_tokens_per_second"].get<double>());
}

TEST_F(PlanProgram, KeepsToWhatMayLieOnTheGpu) {
  const auto weights_there = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all{"--like", kDesktopWithGpu, "--vram", "1GiB", "--ram", "200MiB"};
    all.insert(all.end(), more.begin(), more.end());
    return plan(all)["peak_bytes"]["CUDA0"]["weights"].get<std::int64_t>();
  };
  const std::int64_t all = weights_there({});
  EXPECT_LT(weights_there({"-ngl", "1"}), all);
  EXPECT_LT(weights_there({"-ot", "ffn=CPU"}), all);
  expect_refused(run_brimful(command({"--like", kDesktopWithGpu, "--vram", "1GiB", "-ot", "ffn=CUDA1"})),
                 "there is no device 'CUDA1' with a budget; choose one of CPU, CUDA0");
}

TEST_F(PlanProgram, SaysWhatWouldBeBetter) {
  const ProgramRun run = run_brimful(command({"--like", kDesktop, "--ram", tight()}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* text :
       {"It fits.", "bound by ", "What would be faster", "quantisation Q4", "perplexity", "NVMe"})
    EXPECT_NE(run.out.find(text), std::string::npos) << text << " in\n" << run.out;
}

TEST_F(PlanProgram, DrawsTheTiers) {
  ASSERT_EQ(run_brimful(command({"--like", kDesktopWithGpu, "--svg", file("plan.svg")})).exit_code, 0);
  std::ifstream in(file("plan.svg"));
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_TRUE(text.starts_with("<svg")) << text.substr(0, 80);
  for (const char* name : {"CUDA0", "host memory", "disk", "weights"})
    EXPECT_NE(text.find(name), std::string::npos) << name;
}

/// The model is larger than all memory of a machine that is described by presets. Only the model's header
/// exists.
TEST_F(PlanProgram, PlansA70BModelFromItsHeaderForAMachineThatIsNotHere) {
  ASSERT_EQ(
      run_brimful({"synth", "--like", "llama-70b", "--type", "Q8_0", "--header-only", "-o", file("70b.gguf")})
          .exit_code,
      0);
  const ProgramRun run = run_brimful({"plan", "-m", file("70b.gguf"), "--json", "--vram", "11.5GiB", "--like",
                                      "rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3, 16-threads"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  EXPECT_LE(json["peak_bytes"]["CUDA0"]["total"], std::uint64_t{23} << 29);
  EXPECT_GT(json["peak_bytes"]["CUDA0"]["weights"], std::uint64_t{9} << 30);
  EXPECT_GT(json["peak_bytes"]["CUDA0"]["ring"], std::uint64_t{100} << 20) << "for weights sent for prompts";
  EXPECT_GT(json["streamed_bytes_per_pass"], 0);
  // The rate of the RAM is the upper limit, because the weights in it must be read for every token.
  EXPECT_LT(json["decode_tokens_per_second"], 1.5);
  std::string changes;
  for (const auto& change : json["changes"]) changes += change["what"].get<std::string>() + '\n';
  for (const char* what : {"quantisation Q3_K_M", "24.00 GiB of VRAM", "batch of 8"})
    EXPECT_NE(changes.find(what), std::string::npos) << what << " in\n" << changes;
  for (const char* what : {"quantisation Q2_K", "a model of"})
    EXPECT_EQ(changes.find(what), std::string::npos) << what << " is of lesser quality";
  for (const auto& change : json["changes"]) EXPECT_GT(change["factor"], 1.0) << change;
}

TEST_F(PlanProgram, OnlyTheHeaderOfARemoteModelIsFetched) {
  ::setenv("no_proxy", "*", 1);
  std::ifstream in(model_, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  const ModelServer server([&](const ModelServer::Request&) {
    return ModelServer::Reply{.body = whole, .size = std::uint64_t{1} << 36};
  });
  const ProgramRun run =
      run_brimful({"plan", "-m", server.address() + "/tiny.gguf", "--like", kDesktop, "-c", "512"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("from the header alone"), std::string::npos) << run.out;
  EXPECT_LE(server.bytes_sent(), std::uint64_t{2} << 20);
  EXPECT_LE(server.requests().size(), 2U);
  const ProgramRun both = run_brimful({"plan", "-m", model_.string(), "-hf", "a/b", "--like", kDesktop});
  EXPECT_EQ(both.exit_code, 1) << both.out;
}

TEST_F(PlanProgram, ThisMachineIsMeasuredOnceAndRemembered) {
  ASSERT_EQ(::setenv("XDG_CACHE_HOME", directory_.path().c_str(), 1), 0);
  const ProgramRun planned = run_brimful(command({"--ram", "90MiB"}), nullptr,
                                         std::chrono::seconds(280));  // A slow machine takes minutes.
  const auto profiles = std::filesystem::directory_iterator(directory_.path() / "brimful");
  const std::filesystem::path profile = profiles->path();
  const auto machine = nlohmann::json::parse(std::ifstream(profile));
  const bool disturbed = machine.contains("disturbed_by_processors");  // Then it may be measured again.
  const ProgramRun again =
      run_brimful(command({"--ram", "90MiB", "--json"}), nullptr, std::chrono::seconds(280));
  const auto model = Model::open(model_);
  ASSERT_TRUE(model) << model.error().message;
  const auto known = Machine::known(*model, 2);
  const auto of_library = model->plan({.ram = kGiB}, {.sequences = 4, .threads = 2, .machine = known});
  ::unsetenv("XDG_CACHE_HOME");
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_NE(planned.err.find("note: this machine's speed is not known yet"), std::string::npos)
      << planned.err;
  ASSERT_EQ(again.exit_code, 0) << again.err;
  if (!disturbed) {
    EXPECT_EQ(again.err.find("measured"), std::string::npos) << again.err;
    EXPECT_EQ(nlohmann::json::parse(again.out)["machine"]["measured"], machine["measured"]);
  }
  EXPECT_FALSE(machine["measured"].get<std::string>().empty());
  EXPECT_EQ(plan({"--hardware", profile.string(), "--ram", "90MiB"})["fits"], true);

  // The library chooses by the same figures, unless others computed while they were measured.
  EXPECT_TRUE(known || disturbed);
  ASSERT_TRUE(of_library) << of_library.error().message;
  const bool weighs = std::ranges::any_of(
      of_library->notes, [](const std::string& note) { return note.starts_with("plan: weighed"); });
  EXPECT_EQ(weighs, known.has_value());
}

/// Somebody who waits for it without a terminal also sees its progress.
TEST_F(PlanProgram, AQuickProbeTellsAPipeWhatItMeasures) {
  ASSERT_EQ(::setenv("XDG_CACHE_HOME", directory_.path().c_str(), 1), 0);
  const ProgramRun ran =
      run_brimful({"probe", "--quick", "-t", "2", "--json"}, nullptr, std::chrono::seconds(280));
  ::unsetenv("XDG_CACHE_HOME");
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  // Not every step is reported: one that follows at once is left out.
  const std::regex line("measuring this machine.s speed, once: .+ \\(([0-9]+) of ([0-9]+)\\)\n");
  std::smatch first;
  ASSERT_TRUE(std::regex_search(ran.err, first, line)) << ran.err;
  EXPECT_EQ(first[1], "1") << ran.err;
  EXPECT_LE(std::stoi(first[2]), 7) << ran.err;
  EXPECT_GE(nlohmann::json::parse(ran.out)["compute"]["kernels"].size(), 4U) << ran.out;
  std::printf("[          ] %.1f s\n", ran.took.count());
}

}  // namespace
}  // namespace brimful::tests

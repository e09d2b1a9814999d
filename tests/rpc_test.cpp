// Layers lie on ggml's rpc-servers, which are real devices with memory of their own and run on any machine.

#include <arpa/inet.h>
#include <brimful/process.h>
#include <brimful/session.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "engine/remote_devices.h"
#include "hardware/presets.h"
#include "llama_tool.h"
#include "model/model_profile.h"
#include "program_run.h"
#include "session/library_plan.h"
#include "synth_model.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

bool answers(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = loopback(port);
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return connected;
}

class RpcServer {
 public:
  RpcServer() : port_(free_port()) {
    const std::string where = endpoint();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (std::freopen("/dev/null", "w", stdout) == nullptr) ::_exit(126);
      ::execl(BRIMFUL_RPC_SERVER, "rpc_server", where.c_str(), "2", nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 500 && !answers(port_); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ~RpcServer() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  [[nodiscard]] std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  const int port_;
  pid_t pid_ = -1;
};

/// Rates of a GPU come from its driver's facts, and an rpc-server's device has none.
TEST(Rpc, TheLibrarysPlanForecastsNoDeviceWhoseRatesNobodyKnows) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const RpcServer server;
  ASSERT_TRUE(engine::add_rpc_server(server.endpoint(), "endpoint"));
  const auto profile = model::read_model(path);
  ASSERT_TRUE(profile);
  const ContextOptions context{.tokens = 512, .ubatch = 64, .threads = 2};
  // Plans as if this machine were made of these parts.
  const auto plan = [&](const std::vector<VramBudget>& vram, const std::string& gpu = "") {
    const session::MachineFacts here{
        .profile = hardware::machine_like(gpu + "64gb-ddr4-3600, nvme-gen3, 8c16t").value()};
    return session::library_plan(path, *profile, {.ram = kGiB, .vram = vram}, context, &here,
                                 {.changes = true});
  };
  const auto without = plan({});
  ASSERT_TRUE(without && without->forecast);
  EXPECT_EQ(without->forecast->pass.gpu.count(), 0);
  EXPECT_FALSE(without->changes.empty());
  const auto with = plan({{.bytes = kGiB}});
  ASSERT_TRUE(with) << with.error().message;
  ASSERT_EQ(with->account.tiers.size(), 2U);
  EXPECT_EQ(with->account.tiers[1].tags.front().first, "weights");
  EXPECT_GT(with->account.tiers[1].tags.front().second, Bytes{});
  EXPECT_FALSE(with->forecast);
  EXPECT_TRUE(with->changes.empty());
  EXPECT_TRUE(with->notes.back().starts_with("no forecast: budgets.vram ")) << with->notes.back();
  const auto known = plan({{.bytes = kGiB}}, "rtx-3060-12gb, ");
  ASSERT_TRUE(known && known->forecast) << "a GPU that has rates";
  EXPECT_GT(known->forecast->pass.gpu.count(), 0);
  EXPECT_FALSE(known->changes.empty());
}

TEST(Rpc, TwoServersAndTheHostShareAModel) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const TemporaryDirectory directory;
  const RpcServer first;
  const RpcServer second;
  const auto run = [&](std::vector<std::string> more) {
    const std::string stats = (directory.path() / "stats.json").string();
    std::vector<std::string> all{"run", "-m",     path, "--raw", "-p", "Once upon a time", "-n", "24", "-c",
                                 "256", "--temp", "0",  "-t",    "2",  "--stats",          stats};
    all.insert(all.end(), more.begin(), more.end());
    const ProgramRun done = run_brimful(all);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    std::ifstream in(stats);
    return nlohmann::json::parse(in, nullptr, false);
  };
  const nlohmann::json alone = run({});
  const nlohmann::json shared =
      run({"--rpc", first.endpoint() + "," + second.endpoint(), "--vram", "RPC0=10MiB,RPC1=10MiB"});
  EXPECT_EQ(shared["token_ids"], alone["token_ids"]);
  for (const char* device : {"RPC0", "RPC1"}) {
    EXPECT_EQ(shared["budget_bytes"][device], 10 << 20);
    EXPECT_GT(shared["device_bytes"][device]["weights"], 1 << 20);
    EXPECT_EQ(shared["sent_bytes"][device], 0) << "no batch";
  }
}

// An rpc-server computes with ggml's CPU kernels, which give several tokens other bits than one where weights
// are F32. It gets each node of a pass by itself, so that it also shows that these are complete.
TEST(Rpc, DraftsChangeNoToken) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const TemporaryDirectory directory;
  const RpcServer server;
  const auto run = [&](const std::vector<std::string>& drafts) {
    const std::string stats = (directory.path() / "stats.json").string();
    std::vector<std::string> all{
        "run",    "-m",    path,      "--raw", "-p",     "Max has a red ball. Max has a",
        "-n",     "40",    "-c",      "256",   "--temp", "0",
        "-t",     "2",     "--ram",   "1GiB",  "--rpc",  server.endpoint(),
        "--vram", "20MiB", "--stats", stats};
    all.insert(all.end(), drafts.begin(), drafts.end());
    const ProgramRun done = run_brimful(all);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    std::ifstream in(stats);
    return nlohmann::json::parse(in, nullptr, false);
  };
  const nlohmann::json expected = run({"--spec-type", "none"});
  for (const std::vector<std::string>& drafts :
       {std::vector<std::string>{"--spec-always", "--spec-draft-n-max", "7"},
        {"--spec-always", "-md", path}}) {
    const nlohmann::json got = run(drafts);
    EXPECT_EQ(got["token_ids"], expected["token_ids"]);
    EXPECT_GT(got["drafts"]["accepted"], 0);
    EXPECT_LT(got["passes"]["count"], expected["passes"]["count"]);
  }
}

/// What a program does that uses the library, in a process of its own, because devices cannot be taken out of
/// one again. Returns what is wrong; empty: nothing.
std::string use_in_a_session(const std::filesystem::path& path, const std::string& endpoint) {
  const auto missing = add_rpc_server("127.0.0.1:1");
  if (missing || missing.error().code != ErrorCode::kNotFound) return "a server is found where there is none";
  if (const auto added = add_rpc_server(endpoint); !added) return added.error().message;
  const auto model = Model::open(path);
  const SamplingOptions greedy{.numbers = {{"temperature", 0}}, .max_tokens = 12};
  const auto tokens = [&](const Budgets& budgets) -> Result<std::vector<std::int32_t>> {
    BRIMFUL_TRY(Session session, Session::start(*model, budgets, {.tokens = 256}));
    BRIMFUL_TRY(const Completion done, session.generate({.text = "Once upon a time"}, greedy));
    const Account account = session.account();
    if (account.tiers.size() == 2 && account.tiers[1].device.empty())
      return fail(ErrorCode::kInternal, "the device has no name");
    return done.tokens;
  };
  const auto alone = tokens({.ram = kGiB});
  const auto shared = tokens({.ram = kGiB, .vram = {{"RPC0", kMiB * 20}}});
  if (!alone) return alone.error().message;
  if (!shared) return shared.error().message;
  if (*shared != *alone) return "the tokens differ";
  const auto weights_there = [&](const Placement& placement) {
    const auto plan =
        model->plan({.ram = kGiB, .vram = {{"RPC0", kMiB * 20}}}, {.tokens = 256, .placement = placement});
    return plan ? plan->account.tiers.at(1).tags.at(0).second : Bytes{};
  };
  const Bytes all = weights_there({});
  const Bytes some = weights_there({.gpu_layers = 1});
  if (all <= kMiB || some >= all) return "what may lie on the device does not";
  const auto automatic = model->plan({.ram = kGiB, .vram = {{.device = "RPC0"}}}, {.tokens = 256});
  if (!automatic) return automatic.error().message;
  if (automatic->account.tiers.at(1).budget <= kGiB) return "a budget without a size is not what is free";
  if (!automatic->notes.front().starts_with("budgets.vram RPC0=auto: the budget of RPC0 is "))
    return automatic->notes.front();
  return {};
}

TEST(Rpc, ASessionUsesTheDevicesOfAServer) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const RpcServer server;
  EXPECT_EXIT(
      {
        const std::string wrong = use_in_a_session(path, server.endpoint());
        std::fprintf(stderr, "%s\n", wrong.c_str());
        std::_Exit(wrong.empty() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(Rpc, ABudgetMayBeLeftToTheServersDevice) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const RpcServer server;
  const ProgramRun ran = run_brimful({"run", "-m", path.string(), "--raw", "-p", "a", "-n", "2", "-c", "256",
                                      "-t", "1", "--rpc", server.endpoint(), "--vram"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_NE(ran.err.find("note: --vram auto: the budget of RPC0 is "), std::string::npos) << ran.err;
}

TEST(Rpc, FlagsOfLlamaCppSayWhatMayLieThere) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q8_0"});
  const RpcServer server;
  const std::string stats = (directory.path() / "stats.json").string();
  const auto weights_there = [&](std::vector<std::string> more) {
    more.insert(more.begin(),
                {"run", "-m",    path.string(),     "--raw",  "-p",           "a",  "-n", "2",
                 "-c",  "256",   "--temp",          "0",      "--ignore-eos", "-t", "1",  "--stats",
                 stats, "--rpc", server.endpoint(), "--vram", "64MiB"});
    const ProgramRun ran = run_brimful(more);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    std::ifstream in(stats);
    const nlohmann::json json = nlohmann::json::parse(in, nullptr, false);
    const nlohmann::json& held = json["device_bytes"]["RPC0"];
    return held.is_null() ? 0 : held["weights"].get<std::int64_t>() + held["experts"].get<std::int64_t>();
  };
  const std::int64_t all = weights_there({});
  EXPECT_LT(weights_there({"-ngl", "0"}), 64 << 10) << "what batches need of each layer, beside what is sent";
  const std::int64_t some = weights_there({"-ngl", "1"});
  EXPECT_GT(some, 0);
  EXPECT_LT(some, all);
  const std::int64_t without = weights_there({"--n-cpu-moe", "99"});
  EXPECT_GT(without, 0);
  EXPECT_LT(without, all);
  EXPECT_EQ(weights_there({"-ot", "exps=CPU"}), without);
  EXPECT_EQ(weights_there({"-ot", "exps=RPC0"}), all);
}

TEST(Rpc, APromptIsComputedThereWithWeightsThatAreSent) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const TemporaryDirectory directory;
  const RpcServer server;
  const std::string stats = (directory.path() / "stats.json").string();
  std::string prompt;
  for (int i = 0; i < 20; ++i) prompt += "Once upon a time there was a cat. ";
  std::vector<std::string> command{"run", "-m",  path,     "--raw", "-p", prompt, "-n",      "8",
                                   "-c",  "512", "--temp", "0",     "-t", "2",    "--stats", stats};
  const ProgramRun alone = run_brimful(command);
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  command.insert(command.end(), {"--rpc", server.endpoint(), "--vram", "16MiB"});
  const ProgramRun sent = run_brimful(command);
  ASSERT_EQ(sent.exit_code, 0) << sent.err;
  EXPECT_EQ(sent.out, alone.out);
  std::ifstream in(stats);
  EXPECT_GT(nlohmann::json::parse(in, nullptr, false)["sent_bytes"]["RPC0"], 5 << 20);
}

TEST(Rpc, VectorsComeFromWhereTheOutputIs) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const TemporaryDirectory directory;
  const RpcServer server;
  std::ofstream(directory.path() / "in.jsonl")
      << R"({"custom_id":"a","url":"/v1/embeddings","body":{"input":["Once upon a time","a dog"]}})"
      << "\n";
  const auto vectors = [&](const char* name, const std::vector<std::string>& more) {
    std::vector<std::string> command{"batch",
                                     "-m",
                                     path,
                                     "-i",
                                     (directory.path() / "in.jsonl").string(),
                                     "-o",
                                     (directory.path() / name).string(),
                                     "-t",
                                     "1"};
    command.insert(command.end(), more.begin(), more.end());
    const ProgramRun run = run_brimful(command);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    std::vector<std::vector<double>> out;
    std::ifstream in(directory.path() / name);
    const auto answer = nlohmann::json::parse(in, nullptr, false);
    for (const auto& one : answer["response"]["body"]["data"]) out.push_back(one["embedding"]);
    return out;
  };
  const auto here = vectors("here", {});
  const auto there = vectors("there", {"--rpc", server.endpoint(), "--vram", "100MiB"});
  ASSERT_EQ(here.size(), 2U);
  ASSERT_EQ(there.size(), 2U);
  for (std::size_t i = 0; i < here.size(); ++i)
    EXPECT_GT(std::inner_product(here[i].begin(), here[i].end(), there[i].begin(), 0.0), 1 - 1e-6);
}

TEST(Rpc, ImportanceMatricesAreTheSameOnADevice) {
  const RpcServer server;
  const TemporaryDirectory directory;
  const auto design = synth::design_synth({.like = "qwen3moe", .type = "F16"});
  const auto model = synth::write_synth(*design, directory.path() / "model.gguf", true, nullptr);
  const auto text = directory.path() / "text.txt";
  std::ofstream out(text);
  for (int i = 0; i < 60; ++i) out << "Once upon a time there was a cat with " << i << " hats. ";
  out.close();
  const auto matrix = [&](const std::string& name, const std::vector<std::string>& more) {
    const auto file = directory.path() / name;
    std::vector<std::string> command{"imatrix", "-m", model->front(), "-f",  text, "-o", file, "-c",
                                     "64",      "-b", "64",           "-ub", "64", "-t", "1",  "--chunks",
                                     "4"};
    command.insert(command.end(), more.begin(), more.end());
    const ProgramRun run = run_brimful(command);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return bytes_of(file);
  };
  const std::string here = matrix("here", {});
  EXPECT_FALSE(here.empty());
  // The device has its weights in slots, in part and as a whole.
  for (const char* const vram : {"8MiB", "100MiB"})
    EXPECT_EQ(matrix("there", {"--rpc", server.endpoint(), "--vram", vram}), here) << vram;
}

TEST(Rpc, AGrammarOutlivesTheSplit) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const RpcServer server;
  const ProgramRun run = run_brimful({"run",       "-m",
                                      path,        "--raw",
                                      "-p",        "Once",
                                      "-n",        "12",
                                      "-c",        "256",
                                      "--temp",    "0",
                                      "-t",        "2",
                                      "--grammar", "root ::= [a-z ]+",
                                      "--rpc",     server.endpoint(),
                                      "--vram",    "16MiB",
                                      "-ngl",      "2"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out.find_first_not_of("abcdefghijklmnopqrstuvwxyz \n"), std::string::npos) << run.out;
}

TEST(Rpc, KeepsTheHostsBudgetToo) {
  if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  const auto cgroup = MemoryCgroup::create(kMiB * 72);
  if (!cgroup) GTEST_SKIP() << cgroup.error().message;
  const RpcServer server;
  std::string prompt;
  for (int i = 0; i < 20; ++i) prompt += "Once upon a time there was a cat. ";
  const ProgramRun run = run_brimful({"run", "-m", path, "--raw", "-p", prompt, "-n", "8", "-c", "512", "-t",
                                      "2", "--rpc", server.endpoint(), "--vram", "16MiB", "--ram", "72MiB"},
                                     cgroup->get());
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ((*cgroup)->times_at_limit(), 0U);
}

TEST(Rpc, WhereNoServerIsTheFlagIsNamed) {
  expect_refused(
      run_brimful({"run", "-m", "no.gguf", "-p", "x", "--rpc", "127.0.0.1:" + std::to_string(free_port())}),
      "--rpc 127.0.0.1:");
  expect_refused(run_brimful({"run", "-m", "no.gguf", "-p", "x", "--rpc", "nonsense"}), "--rpc nonsense");
}

}  // namespace
}  // namespace brimful::tests

// `brimful quantize`: the bytes of llama.cpp's own program for each of its quantisations, inside the budget,
// through kills, and files that are made to a size.

#include <gguf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "memory_cgroup.h"
#include "program_run.h"
#include "running_program.h"
#include "sanitized.h"
#include "synth_model.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Runs llama.cpp's own program. Returns whether it was content.
bool llama_quantize(const std::vector<std::string>& arguments) {
  std::string command = BRIMFUL_LLAMA_QUANTIZE;
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  const int status = std::system((command + " >/dev/null 2>&1").c_str());
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class Quantize : public testing::Test {
 protected:
  [[nodiscard]] fs::path at(const std::string& name) const { return directory_.path() / name; }
  fs::path model(const std::string& name, const synth::SynthOptions& options) {
    const auto design = synth::design_synth(options);
    if (!design) return {};
    const auto written = synth::write_synth(*design, at(name), true, nullptr);
    return written ? written->front() : fs::path();
  }

  /// Expects that both programs make the same bytes of the source, or that both refuse it.
  void expect_same(const fs::path& source, const std::string& target,
                   const std::vector<std::string>& flags = {}) {
    SCOPED_TRACE(target);
    const fs::path theirs = at("theirs.gguf");
    const fs::path ours = at("ours.gguf");
    fs::remove(theirs);
    fs::remove(ours);
    std::vector<std::string> llama = flags;
    llama.insert(llama.end(), {source, theirs, target, "2"});
    const bool made = llama_quantize(llama);
    std::vector<std::string> arguments{"quantize", source, ours, target, "-t", "2"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const ProgramRun run = run_brimful(arguments);
    EXPECT_EQ(run.exit_code, made ? 0 : 1) << run.err;
    EXPECT_EQ(fs::exists(ours), made);
    if (made) {
      EXPECT_TRUE(content(theirs) == content(ours)) << "other bytes";
    } else {
      expect_refused(run, source);
    }
  }

  void write_importance(const fs::path& path, const std::vector<std::pair<std::string, int>>& tensors) {
    gguf_context* const out = gguf_init_empty();
    const char* dataset = "a text";
    gguf_set_val_str(out, "general.type", "imatrix");
    gguf_set_arr_str(out, "imatrix.datasets", &dataset, 1);
    gguf_set_val_u32(out, "imatrix.chunk_count", 3);
    gguf_set_val_u32(out, "imatrix.chunk_size", 512);
    ggml_context* const context = ggml_init({.mem_size = 64 << 20, .mem_buffer = nullptr, .no_alloc = false});
    for (const auto& [name, columns] : tensors) {
      ggml_tensor* const sums = ggml_new_tensor_2d(context, GGML_TYPE_F32, columns, 1);
      ggml_tensor* const counts = ggml_new_tensor_2d(context, GGML_TYPE_F32, 1, 1);
      ggml_format_name(sums, "%s.in_sum2", name.c_str());
      ggml_format_name(counts, "%s.counts", name.c_str());
      for (int i = 0; i < columns; ++i)
        static_cast<float*>(sums->data)[i] = 1.0F + static_cast<float>(i % 17);
      static_cast<float*>(counts->data)[0] = 1536;
      gguf_add_tensor(out, sums);
      gguf_add_tensor(out, counts);
    }
    ASSERT_TRUE(gguf_write_to_file(out, path.c_str(), false));
    ggml_free(context);
    gguf_free(out);
  }

  TemporaryDirectory directory_;
};

TEST_F(Quantize, GivesTheBytesOfLlamaQuantizeForEachOfItsNames) {
  const fs::path source =
      model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 1, .vocabulary = 300});
  for (const char* const target :
       {"Q1_0",  "Q2_0",   "Q4_0",   "Q4_1",   "MXFP4_MOE", "Q5_0",   "Q5_1",   "IQ2_XXS", "IQ2_XS", "IQ2_S",
        "IQ2_M", "IQ1_S",  "IQ1_M",  "TQ1_0",  "TQ2_0",     "Q2_K",   "Q2_K_S", "IQ3_XXS", "IQ3_S",  "IQ3_M",
        "Q3_K",  "IQ3_XS", "Q3_K_S", "Q3_K_M", "Q3_K_L",    "IQ4_NL", "IQ4_XS", "Q4_K",    "Q4_K_S", "Q4_K_M",
        "Q5_K",  "Q5_K_S", "Q5_K_M", "Q6_K",   "Q8_0",      "F16",    "BF16",   "F32",     "COPY"})
    expect_same(source, target);
}

TEST_F(Quantize, GivesTheBytesOfLlamaQuantizeWithItsFlags) {
  const fs::path source =
      model("source.gguf", {.like = "mixtral", .type = "F32", .layers = 1, .vocabulary = 300});
  expect_same(source, "Q4_K_M");
  expect_same(source, "MXFP4_MOE");
  expect_same(source, "q3_k_m", {"--pure"});
  expect_same(source, "Q4_K_M", {"--leave-output-tensor"});
  expect_same(
      source, "Q4_K_M",
      {"--token-embedding-type", "q3_K", "--output-tensor-type", "q8_0", "--tensor-type", "attn_v=q6_K"});
  const fs::path quantised = at("quantised.gguf");
  ASSERT_TRUE(llama_quantize({source, quantised, "Q8_0"}));
  expect_same(quantised, "Q4_K_M");  // both refuse
  expect_same(quantised, "Q4_K_M", {"--allow-requantize"});
}

TEST_F(Quantize, TakesAnImportanceMatrixAsLlamaQuantizeDoes) {
  const fs::path source = model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 1});
  const std::string importance = at("importance.gguf");
  write_importance(importance, {{"blk.0.attn_q.weight", 256},
                                {"blk.0.attn_k.weight", 256},
                                {"blk.0.attn_v.weight", 256},
                                {"blk.0.attn_output.weight", 256},
                                {"blk.0.ffn_gate.weight", 256},
                                {"blk.0.ffn_up.weight", 256},
                                {"blk.0.ffn_down.weight", 768}});
  for (const char* const target : {"IQ3_S", "IQ4_XS", "Q4_0", "Q4_K_M"})
    expect_same(source, target, {"--imatrix", importance});
  const std::string other = at("other.gguf");
  write_importance(other, {{"blk.0.attn_q.weight", 512}});
  expect_refused(run_brimful({"quantize", source, at("x.gguf"), "Q4_K_M", "--imatrix", other}),
                 "the importance matrix is of another model");
  write_importance(other, {{"blk.9.attn_q.weight", 256}});
  expect_refused(run_brimful({"quantize", source, at("x.gguf"), "Q4_K_M", "--imatrix", other}),
                 "the importance matrix is of another model");
  expect_refused(run_brimful({"quantize", source, at("x.gguf"), "Q4_K_M", "--imatrix", source}),
                 "not an importance matrix");
}

TEST_F(Quantize, MergesTheFilesOfASplitModelOrKeepsThem) {
  const fs::path source =
      model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 2, .splits = 3});
  expect_same(source, "Q4_K_M");
  ASSERT_TRUE(llama_quantize({"--keep-split", source, at("theirs"), "Q4_K_M"}));
  const ProgramRun run =
      run_brimful({"quantize", source, at("ours.gguf"), "Q4_K_M", "--keep-split", "--force"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* const part : {"-00001-of-00003.gguf", "-00002-of-00003.gguf", "-00003-of-00003.gguf"})
    EXPECT_TRUE(content(at(std::string("theirs") + part)) == content(at(std::string("ours") + part))) << part;
}

TEST_F(Quantize, StaysInsideItsBudgetWithAModelThatIsLarger) {
  if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
  constexpr Bytes kBudget{44 * 1024 * 1024};
  const auto cgroup = MemoryCgroup::create(kBudget);
  if (!cgroup) GTEST_SKIP() << "NOT TESTED that the budget holds: " << cgroup.error().message;
  const fs::path source =
      model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 24, .vocabulary = 32000});
  ASSERT_GT(fs::file_size(source), kBudget.value);
  drop_page_cache();
  const ProgramRun run = run_brimful(
      {"quantize", source, at("ours.gguf"), "Q8_0", "--ram", std::to_string(kBudget.value)}, cgroup->get());
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_LE((*cgroup)->peak(), kBudget);
  EXPECT_EQ((*cgroup)->times_at_limit(), 0U);
  ASSERT_TRUE(llama_quantize({source, at("theirs.gguf"), "Q8_0"}));
  EXPECT_TRUE(content(at("theirs.gguf")) == content(at("ours.gguf")));
}

TEST_F(Quantize, GoesOnAfterAKillAndLeavesNoHalfFile) {
  // Most of the file is written at once, and then comes a layer that takes long.
  const fs::path source =
      model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 3, .vocabulary = 32000});
  const std::vector<std::string> flags{"--tensor-type", "blk.2=iq3_s", "--token-embedding-type", "f16"};
  std::vector<std::string> arguments{"quantize", source, at("ours.gguf"), "Q8_0", "-t", "1"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const fs::path state = at("ours.gguf.brimful-state");
  {
    RunningProgram program(arguments);
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!fs::exists(state) && !program.has_ended() && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSERT_FALSE(program.has_ended()) << program.said();
    program.kill();
  }
  EXPECT_FALSE(fs::exists(at("ours.gguf")));
  const ProgramRun run = run_brimful(arguments);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, testing::HasSubstr("went on with an earlier run"));
  EXPECT_FALSE(fs::exists(state));
  std::vector<std::string> llama = flags;
  llama.insert(llama.end(), {source, at("theirs.gguf"), "Q8_0"});
  ASSERT_TRUE(llama_quantize(llama));
  EXPECT_TRUE(content(at("theirs.gguf")) == content(at("ours.gguf")));
}

TEST_F(Quantize, RefusesWhatItCannotDoInOneLine) {
  const fs::path source = model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 1});
  const std::string out = at("out.gguf");
  expect_refused(run_brimful({"quantize", source, out, "Q9_K"}), "none of llama.cpp's quantisations");
  expect_refused(run_brimful({"quantize", source, source, "Q4_0"}), "is the source");
  expect_refused(run_brimful({"quantize", source, at("none/out.gguf"), "Q4_0"}), "cannot be written");
  expect_refused(run_brimful({"quantize", source, "/dev/full", "Q4_0"}), "is no regular file");
  expect_refused(run_brimful({"quantize", at("none.gguf"), out, "Q4_0"}), "none.gguf");
  expect_refused(run_brimful({"quantize", source, out, "Q4_0", "--tensor-type", "attn_v"}), "PATTERN=TYPE");
  expect_refused(run_brimful({"quantize", source, out, "Q4_0", "--tensor-type", "(=q4_0"}),
                 "regular expression");
  expect_refused(run_brimful({"quantize", source, out, "IQ2_XXS"}), "imatrix");
  expect_refused(run_brimful({"quantize", source, out, "--to", "1KiB"}), "the smallest possible is");
  expect_refused(run_brimful({"quantize", source, out, "--to", "vram=x"}), "--to vram=x");
  expect_refused(run_brimful({"quantize", source, out, "--to", "speed=3"}), "--to speed=3");
  expect_refused(run_brimful({"quantize", source, out, "--to", "2MiB", "--effort", "imatrix"}),
                 "needs an importance matrix");
  expect_refused(run_brimful({"quantize", source, out, "--to", "2MiB", "--text", at("none.txt")}),
                 "none.txt");
  const ProgramRun small = run_brimful({"quantize", source, out, "Q4_0", "--ram", "2MiB"});
  EXPECT_EQ(small.exit_code, 3);
  expect_refused(small, "--ram");
  std::ofstream(out) << "mine";
  expect_refused(run_brimful({"quantize", source, out, "Q4_0"}), "--force");
  EXPECT_EQ(content(out), "mine");
  fs::remove(out);
  std::string cut = content(source);
  cut.resize(cut.size() / 2);
  std::ofstream(at("cut.gguf"), std::ios::binary) << cut;
  expect_refused(run_brimful({"quantize", at("cut.gguf"), out, "Q4_0"}), "cut.gguf");
  for (const auto& entry : fs::directory_iterator(directory_.path()))
    EXPECT_FALSE(entry.path().string().contains("brimful-")) << entry.path() << " was left";
}

TEST_F(Quantize, SaysThatTheDiskIsFullBeforeTheWork) {
  const fs::path source = model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 2});
  const fs::path disk = at("disk");
  fs::create_directory(disk);
  if (::mount("none", disk.c_str(), "tmpfs", 0, "size=512k") != 0)
    GTEST_SKIP() << "no small disk can be mounted here (needs root)";
  const ProgramRun run = run_brimful({"quantize", source, disk / "out.gguf", "Q8_0"});
  const bool empty = fs::is_empty(disk);
  ::umount(disk.c_str());
  expect_refused(run, "the disk is full");
  EXPECT_TRUE(empty);
}

TEST_F(Quantize, MakesAFileOfTheSizeThatIsAskedFor) {
  const fs::path source = model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 3});
  const auto arguments = [&](const std::string& out, std::uint64_t size) {
    return std::vector<std::string>{"quantize",
                                    "-t",
                                    "1",
                                    source,
                                    at(out),
                                    "--to",
                                    std::to_string(size),
                                    "--windows",
                                    "1",
                                    "--types",
                                    "q2_K,q3_K,q4_0,q4_K,q5_K,q6_K,q8_0",
                                    "--json",
                                    at(out + ".json"),
                                    "--svg",
                                    at(out + ".svg"),
                                    "--journal",
                                    at("journal")};
  };
  for (const double share : {0.30, 0.45}) {
    const auto size = static_cast<std::uint64_t>(share * static_cast<double>(fs::file_size(source)));
    fs::remove(at("a.gguf"));
    const ProgramRun run = run_brimful(arguments("a.gguf", size));
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_LE(fs::file_size(at("a.gguf")), size);
    EXPECT_GE(static_cast<double>(fs::file_size(at("a.gguf"))), 0.999 * static_cast<double>(size));
  }
  const nlohmann::json ledger = nlohmann::json::parse(content(at("a.gguf.json")), nullptr, false);
  EXPECT_EQ(ledger.value("effort", ""), "kl");
  ASSERT_EQ(ledger["tensors"].size(), 3U * 7 + 2);
  EXPECT_TRUE(ledger["tensors"][0].value("measured", false));
  EXPECT_THAT(content(at("a.gguf.svg")), testing::HasSubstr("Q4_K_M"));
  const ProgramRun shown = run_brimful({"show", at("a.gguf")});
  EXPECT_THAT(shown.out, testing::HasSubstr("brimful.quantize.ledger"));
  // The same inputs give the same bytes, also when all is measured again.
  fs::remove(at("journal"));
  const ProgramRun again = run_brimful(
      arguments("b.gguf", static_cast<std::uint64_t>(0.45 * static_cast<double>(fs::file_size(source)))));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(content(at("a.gguf")) == content(at("b.gguf")));
  const ProgramRun used = run_brimful({"run", "-m", at("a.gguf"), "--raw", "-p", "a", "-n", "2", "-t", "1"});
  EXPECT_EQ(used.exit_code, 0) << used.err;
}

TEST_F(Quantize, ChoosesForMemoryAndSpeedOfAMachine) {
  const fs::path source =
      model("source.gguf", {.like = "llama-tiny", .type = "F16", .layers = 4, .vocabulary = 16000});
  const std::string machine = "64gb-ddr4-3600, nvme-gen3, 8c16t";
  const auto make = [&](const std::string& goal) {
    fs::remove(at("out.gguf"));
    return run_brimful({"quantize", source, at("out.gguf"), "--to", goal, "--effort", "weights", "--types",
                        "q4_0,q5_0,q6_K,q8_0", "--like", machine, "--journal", at("journal")});
  };
  // All weights of the source stay in this memory, so none of them is made smaller.
  const ProgramRun ample = make("ram=4GiB");
  ASSERT_EQ(ample.exit_code, 0) << ample.err;
  const auto most = fs::file_size(at("out.gguf"));
  EXPECT_NEAR(static_cast<double>(most), static_cast<double>(fs::file_size(source)),
              0.02 * static_cast<double>(most));
  const ProgramRun impossible = make("tps=1e9");
  EXPECT_EQ(impossible.exit_code, 3);
  expect_refused(impossible, "the fastest possible file gives");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(impossible.err, match, std::regex("gives ([0-9.]+) tokens/s")));
  const double fastest = std::stod(match[1].str());
  const ProgramRun fast = make("tps=" + std::to_string(0.8 * fastest));
  ASSERT_EQ(fast.exit_code, 0) << fast.err;
  EXPECT_LT(fs::file_size(at("out.gguf")), most);
}

}  // namespace
}  // namespace brimful::tests

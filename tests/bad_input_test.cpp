// Bad or missing input leads to one clear line and an exit code that is not 0, and never to a crash or a
// hang.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <random>
#include <regex>

#include "program_run.h"
#include "synth/synth.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr std::chrono::seconds kSoon{10};

ProgramRun run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "run");
  return run_brimful(arguments, nullptr, kSoon);
}

void expect_model_refused(const std::filesystem::path& path, const std::string& text) {
  SCOPED_TRACE(path);
  expect_refused(run({"-m", path, "-p", "Hello", "-n", "1"}), text);
}

class BadInput : public testing::Test {
 protected:
  std::string good_model(const std::string& name = "good.gguf") {
    const auto design = synth::design_synth({.like = "llama-tiny", .type = "Q4_0"});
    if (!design) return {};
    const auto written = synth::write_synth(*design, directory_.path() / name, true, [](Bytes) {});
    return written ? written->front().string() : std::string();
  }
  TemporaryDirectory directory_;
};

TEST_F(BadInput, WhatIsNoModelFile) {
  const auto& here = directory_.path();
  expect_model_refused(here / "none.gguf", "none.gguf");
  expect_model_refused(here, here.string());
  std::ofstream(here / "empty.gguf").flush();
  expect_model_refused(here / "empty.gguf", "empty.gguf");
  std::ofstream(here / "text.gguf") << std::string(100'000, 'G');
  expect_model_refused(here / "text.gguf", "text.gguf");
  std::filesystem::create_symlink(here / "loop", here / "loop");
  expect_model_refused(here / "loop", "loop");
  ASSERT_EQ(::mkfifo((here / "pipe").c_str(), 0600), 0);
  expect_model_refused(here / "pipe", "pipe");
  expect_model_refused("/dev/null", "/dev/null");
  expect_model_refused("/dev/zero", "/dev/zero");
  expect_model_refused("", "");
}

TEST_F(BadInput, AModelThatMayNotBeRead) {
  const std::string model = good_model();
  ASSERT_EQ(::chmod(model.c_str(), 0), 0);
  expect_model_refused(model, model);
}

TEST_F(BadInput, FuzzerFindings) {
  const auto malformed = shared_file("malformed");
  if (malformed.empty()) GTEST_SKIP() << "../shared is not here: fuzzer findings are not tested";
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(malformed)) {
    ++files;
    expect_model_refused(file.path(), "");
  }
  EXPECT_GT(files, 20);
}

TEST_F(BadInput, AModelCutAtAnyByte) {
  const std::string model = good_model();
  const auto size = std::filesystem::file_size(model);
  ASSERT_GT(size, 100'000U);
  std::vector<std::uintmax_t> points{0,  1,  3,   4,    8,        16,        23,
                                     24, 25, 100, 1000, size - 1, size - 32, size - 4097};
  std::mt19937_64 random(1);
  // These points lie in the header and the vocabulary.
  for (int i = 0; i < 12; ++i) points.push_back(random() % 60'000);
  for (int i = 0; i < 10; ++i) points.push_back(random() % size);
  const auto cut = directory_.path() / "cut.gguf";
  for (const std::uintmax_t point : points) {
    SCOPED_TRACE(testing::Message() << "cut at byte " << point << " of " << size);
    std::filesystem::copy_file(model, cut, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(cut, point);
    expect_model_refused(cut, "cut.gguf");
  }
}

TEST_F(BadInput, ASplitModelWithAPartMissing) {
  const auto design = synth::design_synth({.like = "llama-tiny", .type = "Q4_0", .splits = 3});
  ASSERT_TRUE(design);
  const auto parts = synth::write_synth(*design, directory_.path() / "split.gguf", true, [](Bytes) {});
  ASSERT_TRUE(parts);
  ASSERT_EQ(parts->size(), 3U);
  expect_model_refused((*parts)[1], "00002-of-00003");  // This is not the first part.
  std::filesystem::remove((*parts)[2]);
  expect_model_refused((*parts)[0], "00003-of-00003");
}

TEST_F(BadInput, ABudgetTooSmallNamesOneThatFits) {
  const std::string model = good_model();
  const std::vector<std::string> rest{"-m", model, "--raw", "-p", "a", "-n", "2", "-c", "256", "-t", "2"};
  const auto with_ram = [&](const std::string& ram) {
    std::vector<std::string> all = rest;
    all.insert(all.end(), {"--ram", ram});
    return run(all);
  };
  for (const std::string ram : {"1KiB", "1MiB", "1048577", "10MiB"}) {
    SCOPED_TRACE(ram);
    const ProgramRun refused = with_ram(ram);
    expect_refused(refused, "bytes) are missing");
    std::smatch match;
    ASSERT_TRUE(std::regex_search(refused.err, match, std::regex("--ram ([0-9]+[A-Za-z]*) would fit")))
        << refused.err;
    const ProgramRun fits = with_ram(match[1]);
    EXPECT_EQ(fits.exit_code, 0) << fits.err;
    EXPECT_NE(fits.out, "");
  }
}

TEST_F(BadInput, Flags) {
  const std::string model = good_model();
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--no-such-flag"}, "--no-such-flag"},
      {{"-n", "many"}, "many"},
      {{"-c", "-1"}, "-1"},
      {{"-t", "0"}, "0"},
      {{"--ram", "12XB"}, "12XB"},
      {{"--ram", "0"}, "--ram 0: a budget of 0 bytes holds no model: use a unit, as in 12GiB"},
      {{"--ram", "-1GiB"}, "-1GiB"},
      {{"-ub", "0"}, "-ub"},
      {{"-b", "0"}, "-b"},
      {{"-ctk", "q3"}, "-ctk"},
      {{"-ctv", "q8_0", "-fa", "off"}, "-fa"},
      {{"-fa", "maybe"}, "maybe"},
      {{"-f", directory_.path() / "none.txt"}, "-p or with -f"},
      {{"--grammar", "root ::= ("}, "grammar"},
      {{"--json-schema", "{"}, "--json-schema"},
      {{"--io", "telepathy"}, "telepathy"},
      {{"-c", "99999999999"}, "99999999999"},
      {{"-ngl", "99"}, "need --vram"},
      {{"-ot", "ffn=CPU"}, "need --vram"},
      {{"--vram", "4GiB"}, "scripts/build-back-end"},
      {{"-np", "4"}, "'-np'"},
      {{"-hf", "owner/name"}, "'-hf'"},
  };
  for (const auto& [flags, text] : cases) {
    SCOPED_TRACE(testing::PrintToString(flags));
    std::vector<std::string> all{"-m", model, "-p", "Hello"};
    if (flags[0] != "--ram") all.insert(all.end(), {"--ram", "1GiB"});
    if (flags[0] != "-n") all.insert(all.end(), {"-n", "1"});
    all.insert(all.end(), flags.begin(), flags.end());
    expect_refused(run(all), text);
  }
}

TEST_F(BadInput, SamplingValuesOutOfRange) {
  const std::vector<std::array<std::string, 3>> cases{
      {"--temp", "nan", "0 to 100"},        {"--temp", "-1", "0 to 100"},
      {"--temp", "inf", "0 to 100"},        {"--temp", "1e40", "0 to 100"},
      {"--top-p", "2", "0 to 1"},           {"--top-p", "-0.1", "0 to 1"},
      {"--top-p", "nan", "0 to 1"},         {"--min-p", "2", "0 to 1"},
      {"--min-p", "-1", "0 to 1"},          {"--top-k", "-5", "-1 to 2147483647"},
      {"--repeat-penalty", "0", "0.01 to"}, {"--repeat-penalty", "nan", "0.01 to"},
  };
  for (const auto& [flag, value, range] : cases) {
    SCOPED_TRACE(flag + " " + value);
    // The flag is refused before any model is opened.
    const ProgramRun refused = run({"-m", "none.gguf", "-p", "Hello", flag, value});
    expect_refused(refused, flag + " ");
    expect_refused(refused, "give a number from " + range);
  }
}

// CVE-2025-53630, CVE-2026-27940: sizes that follow from the context must not wrap around.
TEST_F(BadInput, AContextThatNoMemoryHolds) {
  const std::string model = good_model();
  const auto with_context = [&](const std::string& context) {
    return run({"-m", model, "--raw", "-p", "a", "-n", "1", "--ram", "256MiB", "-c", context});
  };
  for (const std::string context : {"4294967295", "4294967040", "2147483648", "100000000"}) {
    SCOPED_TRACE(context);
    expect_refused(with_context(context), "-c " + context + " takes ");
  }
  expect_refused(with_context("2000000"), "bytes) are missing");
  expect_refused(with_context("-1"), "-1");
}

TEST_F(BadInput, SchemasAndGrammars) {
  const std::string model = good_model();
  const auto nested = [](std::string_view open, std::string_view close) {
    std::string text;
    for (int i = 0; i < 10000; ++i) text += open;
    text += "{}";
    for (int i = 0; i < 10000; ++i) text += close;
    return text;
  };
  const std::vector<std::array<std::string, 3>> cases{
      {"--json-schema", "{", "is not valid JSON at byte 2"},
      {"--json-schema", "", "is not valid JSON at byte 1"},
      {"--json-schema", "{\"type\":\"nosuch\"}",
       "is not a schema that can be followed: #: unrecognized type"},
      {"--json-schema", "[]", "is not a schema that can be followed: #: schema must be an object"},
      {"--json-schema", "{\"pattern\":\"^(a$\",\"type\":\"string\"}", "a pattern has unbalanced parentheses"},
      {"--json-schema", nested("{\"items\":", "}"), "nested more than"},
      {"--grammar", "root ::= root \"a\"", "grammar"},
      {"--grammar", "root ::= " + nested("(", ")"), "nested more than"},
  };
  for (const auto& [flag, text, reason] : cases) {
    SCOPED_TRACE(flag + " " + text.substr(0, 60));
    const ProgramRun refused = run({"-m", model, "--raw", "-p", "a", "-n", "1", "--ram", "1GiB", flag, text});
    expect_refused(refused, reason);
    EXPECT_EQ(refused.err.find("json.exception"), std::string::npos) << refused.err;
  }
}

TEST_F(BadInput, ACommandLineWithoutWhatItNeeds) {
  const std::string model = good_model();
  expect_refused(run({}), "model");
  expect_refused(run({"-m", model}), "prompt");
  expect_refused(run({"-m", model, "-f", directory_.path() / "none.txt"}), "none.txt");
  const ProgramRun help = run_brimful({}, nullptr, kSoon);  // This is the only answer with several lines.
  EXPECT_EQ(help.exit_code, 2);
  EXPECT_EQ(help.out, "");
  EXPECT_THAT(help.err, testing::HasSubstr("Usage: brimful"));
  expect_refused(run_brimful({"fly"}, nullptr, kSoon), "fly");
  expect_refused(run_brimful({"show", directory_.path() / "none.gguf"}, nullptr, kSoon), "none.gguf");
}

TEST_F(BadInput, APromptLongerThanTheContext) {
  std::string prompt;
  for (int i = 0; i < 6000; ++i) prompt += "word ";
  const std::string model = good_model();
  // 0 and none mean the context that the model was trained with.
  for (const std::string context : {"256", "0", ""}) {
    SCOPED_TRACE(context);
    std::vector<std::string> all{"-m", model, "--raw", "-p", prompt, "--ram", "1GiB"};
    if (!context.empty()) all.insert(all.end(), {"-c", context});
    expect_refused(run(all), "-c ");
  }
}

TEST_F(BadInput, APromptFileThatIsAFolder) {
  expect_refused(run({"-m", good_model(), "-f", directory_.path()}), directory_.path().string());
}

TEST_F(BadInput, AModelWithoutAVocabulary) {
  const std::string model = good_model();
  const std::string tokens = "tokenizer.ggml.model";
  std::fstream file(model, std::ios::in | std::ios::out | std::ios::binary);
  std::string header(4096, ' ');
  file.read(header.data(), static_cast<std::streamsize>(header.size()));
  const std::size_t key = header.find(tokens);
  ASSERT_NE(key, std::string::npos);
  const std::size_t value = key + tokens.size() + 4 + 8;  // The type and the length of the value come first.
  const std::size_t length = static_cast<unsigned char>(header[value - 8]);
  ASSERT_EQ(header.substr(value, length), "llama");
  file.seekp(static_cast<std::streamoff>(value));
  file << "no_vo";
  file.close();
  expect_model_refused(model, "");
}

TEST_F(BadInput, StatisticsThatCannotBeWrittenAreRefusedBeforeAnyWork) {
  const std::string model = good_model();
  const auto stats_to = [&](const std::filesystem::path& file) {
    return run({"-m", model, "--raw", "-p", "a", "-n", "2", "--ram", "1GiB", "--stats", file});
  };
  const auto missing = directory_.path() / "none" / "stats.json";
  expect_refused(stats_to(missing), missing.string());
  expect_refused(stats_to(directory_.path()), directory_.path().string());
  const auto read_only = directory_.path() / "read-only";
  std::filesystem::create_directory(read_only);
  std::filesystem::permissions(read_only,
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  expect_refused(stats_to(read_only / "stats.json"), "stats.json");
}

}  // namespace
}  // namespace brimful::tests

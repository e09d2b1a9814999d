// The program's output must arrive, or the program must report an error. In these tests standard output is a
// full disk.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "synth_model.h"

namespace brimful::tests {
namespace {

class FullOutput : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    model_ = synth_model(*directory_, {.like = "llama-tiny", .type = "F16"});
  }
  static void TearDownTestSuite() {
    delete directory_;
    directory_ = nullptr;
  }

  /// Runs `brimful ARGUMENTS` through the shell, so that its output goes to `place`.
  void run(const std::string& arguments, const std::string& place) {
    const std::string command = std::string(BRIMFUL_PROGRAM) + " " + arguments + " 2>&1 >" + place;
    errors_.clear();
    FILE* const out = ::popen(command.c_str(), "r");
    ASSERT_NE(out, nullptr);
    std::array<char, 4096> piece{};
    while (const std::size_t got = std::fread(piece.data(), 1, piece.size(), out))
      errors_.append(piece.data(), got);
    const int status = ::pclose(out);
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  static inline TemporaryDirectory* directory_ = nullptr;
  static inline std::filesystem::path model_;
  std::string errors_;
  int exit_code_ = 0;
};

TEST_F(FullOutput, IsAnErrorOfEachCommandThatPrints) {
  const std::string plan = "plan -m " + model_.string() + " --like '64gb-ddr4-3600, nvme-gen3' -c 512";
  for (const std::string& arguments :
       {"show " + model_.string(), "show " + model_.string() + " --json", plan, plan + " --json",
        std::string("help"), std::string("help run"), std::string("run --help"), std::string("--version"),
        "synth --like llama-tiny --header-only -o " + (directory_->path() / "h.gguf").string()}) {
    run(arguments, "/dev/full");
    EXPECT_EQ(exit_code_, 1) << arguments;
    EXPECT_THAT(errors_, testing::HasSubstr("cannot be written to stdout: No space left on device"))
        << arguments;
  }
}

TEST_F(FullOutput, WhyThereIsNoPlanIsStillSaidOnStandardError) {
  run("plan -m " + (directory_->path() / "absent.gguf").string() + " --json", "/dev/full");
  EXPECT_EQ(exit_code_, 1);
  EXPECT_THAT(errors_, testing::HasSubstr("absent.gguf"));
}

TEST_F(FullOutput, WhatArrivesIsNoError) {
  for (const char* const arguments : {"help", "--version"}) {
    run(arguments, "/dev/null");
    EXPECT_EQ(exit_code_, 0) << arguments;
    EXPECT_EQ(errors_, "") << arguments;
  }
}

TEST_F(FullOutput, NotesThatNobodyCanReadStopNothing) {
  const std::string arguments = "run " + model_.string() + " -p Once -n 3 --temp 0";
  const auto text_with = [&](const std::string& errors) {
    const std::string out = (directory_->path() / "out.txt").string();
    run(arguments, out + " 2>" + errors);
    std::ostringstream text;
    text << std::ifstream(out).rdbuf();
    return text.str();
  };
  const std::string expected = text_with("/dev/null");
  EXPECT_EQ(exit_code_, 0);
  EXPECT_NE(expected, "");
  for (const char* const errors : {"/dev/full", "&-"}) {
    EXPECT_EQ(text_with(errors), expected) << errors;
    EXPECT_EQ(exit_code_, 0) << errors;
  }
}

}  // namespace
}  // namespace brimful::tests

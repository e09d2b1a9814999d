#include "cli/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "cli/arguments.h"

namespace brimful::cli {
namespace {

using testing::HasSubstr;

TEST(Wrapped, KeepsLinesWithinTheWidth) {
  EXPECT_EQ(wrapped("one two three", 0, 80), "one two three");
  EXPECT_EQ(wrapped("one two three", 0, 7), "one two\nthree");
  EXPECT_EQ(wrapped("one two three", 2, 9), "one two\n  three");
  EXPECT_EQ(wrapped("a-word-that-is-too-long b", 2, 9), "a-word-that-is-too-long\n  b");
  EXPECT_EQ(wrapped("first\nsecond", 1, 80), "first\n second");
  EXPECT_EQ(wrapped("", 4, 80), "");
}

class Help : public testing::Test {
 protected:
  Help() {
    app_.formatter(std::make_shared<HelpFormatter>(60));
    command_ =
        app_.add_subcommand("run", "complete a prompt, and say so in a description that needs two lines");
    command_->add_option("--ubatch-size,--ub", number_,
                         "tokens in a pass, which is a long story to tell here");
    command_->add_option("-t,--threads", number_, "threads");
    command_->add_option("--ram", text_, "budget");
    command_->add_option("--vram", text_, "budget");
  }
  Result<std::vector<std::string>> parsed(std::vector<std::string> words) {
    std::vector<char*> argv;
    argv.reserve(words.size());
    for (std::string& word : words) argv.push_back(word.data());
    return parser_arguments(*command_, argv);
  }
  std::string refusal(std::vector<std::string> words) {
    const auto arguments = parsed(std::move(words));
    return arguments ? "" : arguments.error().message;
  }

  CLI::App app_{"About", "brimful"};
  CLI::App* command_ = nullptr;
  int number_ = 0;
  std::string text_;
};

TEST_F(Help, FitsTheWidthAndShowsFlagsAsPeopleWriteThem) {
  for (const std::string topic : {"", "run"}) {
    const HelpText help = help_on(app_, topic);
    EXPECT_TRUE(help.found);
    std::istringstream lines(help.text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 60U) << line;
  }
  EXPECT_THAT(help_on(app_, "run").text, HasSubstr("--ubatch-size,-ub"));
  EXPECT_THAT(help_on(app_, "").text, HasSubstr("run"));
}

TEST_F(Help, NamesTheNearestCommand) {
  const HelpText help = help_on(app_, "rnu");
  EXPECT_FALSE(help.found);
  EXPECT_EQ(help.text, "there is no command 'rnu'; do you mean 'run'? see 'brimful help'");
  EXPECT_EQ(help_on(app_, "nosuch").text, "there is no command 'nosuch'; see 'brimful help'");
}

TEST_F(Help, NamesTheNearestFlag) {
  EXPECT_EQ(refusal({"run", "--rma", "1GiB"}), "there is no flag '--rma'; do you mean '--ram'?");
  EXPECT_EQ(refusal({"run", "-ram", "1GiB"}), "there is no flag '-ram'; do you mean '--ram'?");
  EXPECT_EQ(refusal({"run", "--thread=4"}), "there is no flag '--thread'; do you mean '--threads'?");
  EXPECT_EQ(refusal({"run", "--ubb", "4"}), "there is no flag '--ubb'; do you mean '-ub'?");
  EXPECT_EQ(refusal({"run", "-x"}), "there is no flag '-x'");
}

TEST_F(Help, TakesValuesAndWhatFollowsTwoDashesAsTheyAre) {
  EXPECT_EQ(refusal({"run", "--ram", "--rma", "-t4", "-t", "-1", "--ram=-x", "-ub", "3"}), "");
  EXPECT_EQ(refusal({"run", "--", "--rma"}), "");
  EXPECT_EQ(refusal({"run", "-1"}), "") << "a number is no flag";
  EXPECT_EQ(parsed({"run", "-ub", "3"}).value(), (std::vector<std::string>{"3", "--ub", "run"}));
}

TEST_F(Help, TheSizeOfVramMayBeLeftOutAtTheEndAndBeforeAFlag) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(parsed({"run", "--vram"}).value(), (Words{"auto", "--vram", "run"}));
  EXPECT_EQ(parsed({"run", "--vram", "-t", "4"}).value(), (Words{"4", "-t", "auto", "--vram", "run"}));
  EXPECT_EQ(parsed({"run", "--vram", "-ub", "3"}).value(), (Words{"3", "--ub", "auto", "--vram", "run"}));
  EXPECT_EQ(parsed({"run", "--vram", "--", "a.gguf"}).value(),
            (Words{"a.gguf", "--", "auto", "--vram", "run"}));
  EXPECT_EQ(parsed({"run", "--vram", "8GiB"}).value(), (Words{"8GiB", "--vram", "run"}));
  EXPECT_EQ(parsed({"run", "--vram=8GiB", "-t4"}).value(), (Words{"-t4", "--vram=8GiB", "run"}));
  EXPECT_EQ(parsed({"run", "--vram", "lots"}).value(), (Words{"lots", "--vram", "run"})) << "it is refused";
  EXPECT_EQ(refusal({"run", "--vram", "a.gguf"}),
            "--vram a.gguf: is no size: name the model before --vram, or write --vram auto");
  EXPECT_EQ(parsed({"run", "--vram", ""}).value(), (Words{"", "--vram", "run"})) << "it is refused";
  EXPECT_EQ(parsed({"run", "--vram", "-1"}).value(), (Words{"-1", "--vram", "run"})) << "it is refused";
}

}  // namespace
}  // namespace brimful::cli

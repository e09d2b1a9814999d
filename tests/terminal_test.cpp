// The program as a person at a terminal uses it: chat, top, ctl, help, and files that are no models.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "program_run.h"
#include "runtime_directory.h"
#include "sanitized.h"
#include "synth/synth.h"
#include "temporary_directory.h"
#include "typed_terminal.h"

namespace brimful::tests {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kTemplate =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

class AtATerminal : public testing::Test {
 protected:
  std::string model(const std::string& name = "chat.gguf", const std::string& chat_template = kTemplate) {
    const auto design =
        synth::design_synth({.like = "llama-tiny", .type = "Q4_0", .chat_template = chat_template});
    if (!design) return {};
    const auto written = synth::write_synth(*design, directory_.path() / name, true, [](Bytes) {});
    return written ? written->front().string() : std::string();
  }
  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory_.path() / name).string();
  }
  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(path(name)) << text;
    return path(name);
  }
  std::vector<std::string> chat(std::vector<std::string> more) {
    std::vector<std::string> all{
        "run",  "-m",    model(), "-t",           "1",      "-n", "4",       "-c",
        "1024", "--ram", "1GiB",  "--ignore-eos", "--temp", "0",  "--stats", path("stats.json")};
    std::ranges::move(more, std::back_inserter(all));
    return all;
  }
  [[nodiscard]] json stats() const {
    std::ifstream in(path("stats.json"));
    return json::parse(in, nullptr, false);
  }

  TemporaryDirectory directory_;
  const RuntimeDirectory runtime_;
};

TEST_F(AtATerminal, AChatHasCommandsAHistoryAndMessagesOfSeveralLines) {
  TypedTerminal terminal(chat({}));
  terminal.expect("/help lists commands");
  const auto type = [&](std::string_view keys) {
    terminal.expect("\n> ");
    terminal.type(keys);
  };
  type("/help\r");
  EXPECT_THAT(terminal.expect("Ctrl-R"), AllOf(HasSubstr("/bye"), HasSubstr("/system"), HasSubstr("/stats")));
  type("/hlep\r");
  terminal.expect("do you mean '/help'?");
  type("/system\r");
  terminal.expect("There is no system message.");
  type("/system Be kind\r");
  type("/system\r");
  terminal.expect("\r\nBe kind\r\n");
  type("hello\r");                              // The first message.
  type("\033[A\r");                             // The second message, from the history.
  type("\033[200~one\rtwo\rthree\033[201~\r");  // The third message.
  terminal.expect("three");
  type("\"\"\"first\r");
  terminal.expect(". ");
  terminal.type("/bye\r");
  terminal.expect(". ");
  terminal.type("last\"\"\"\r");  // The fourth message.
  type("/stats\r");
  terminal.expect("peak memory");
  type("/clear\r");
  terminal.expect("The conversation is forgotten.");
  type("lost");
  terminal.expect("lost");  // Ctrl-C drops the keys that the program has not read yet.
  terminal.type("\x03");
  EXPECT_THAT(terminal.expect("\n> "), Not(HasSubstr("ends the chat")));
  terminal.type("\x03");
  terminal.expect("Ctrl-D or /bye ends the chat.");
  type("/bye\r");
  EXPECT_EQ(terminal.wait_for_end(), 0) << terminal.rest();
  EXPECT_THAT(terminal.rest(), HasSubstr("peak memory"));
  EXPECT_TRUE(terminal.takes_whole_lines()) << "the terminal is as it was";
  EXPECT_EQ(stats()["decode"]["tokens"], 4 * 4);
}

TEST_F(AtATerminal, CtrlCEndsAnAnswerAndNeverTheChat) {
  TypedTerminal terminal(chat({"-n", "100000", "-c", "100000"}));
  for (int answer = 0; answer < 2; ++answer) {
    terminal.expect("\n> ");
    terminal.type("hello\r");
    // First the echo of the line, and then the model's answer.
    terminal.expect("hello\r\n");
    terminal.expect_anything();
    terminal.type("\x03\x03\x03");
  }
  terminal.expect("\n> ");
  terminal.type("\x04");
  EXPECT_EQ(terminal.wait_for_end(), 0) << terminal.rest();
  EXPECT_THAT(terminal.rest(), HasSubstr("peak memory"));
  EXPECT_LT(stats()["decode"]["tokens"], 100000);
}

TEST_F(AtATerminal, KeysTypedDuringAnAnswerAreReadAfterIt) {
  TypedTerminal terminal(chat({"-n", "200"}));
  terminal.expect("\n> ");
  terminal.type("hello\r");
  terminal.expect("hello\r\n");
  terminal.expect_anything();
  terminal.type("/system\r\x04");  // The model is still writing.
  terminal.expect("There is no system message.");
  EXPECT_EQ(terminal.wait_for_end(), 0) << terminal.rest();
  EXPECT_EQ(stats()["decode"]["tokens"], 200);
}

TEST_F(AtATerminal, CtrlCGivesUpALineAlsoWhereEnterFollowsAtOnce) {
  TypedTerminal terminal(chat({}));
  for (int line = 0; line < 20; ++line) {
    terminal.expect("\n> ");
    terminal.type("two\x03\r");
  }
  terminal.expect("\n> ");
  terminal.type("\x04");
  EXPECT_EQ(terminal.wait_for_end(), 0) << terminal.rest();
  EXPECT_EQ(stats()["decode"]["tokens"], 0);
}

TEST_F(AtATerminal, TopEndsWithQAndLeavesTheScreenAsItWas) {
  TypedTerminal running(chat({}));
  running.expect("\n> ");
  TypedTerminal top({"top"});
  EXPECT_THAT(top.expect("q quits"), AllOf(HasSubstr("\033[?1049h"), HasSubstr("chat.gguf  waiting")));
  top.type("q");
  EXPECT_EQ(top.wait_for_end(), 0);
  EXPECT_THAT(top.rest(), HasSubstr("\033[?1049l"));
  EXPECT_TRUE(top.takes_whole_lines());

  TypedTerminal once({"top", "--once"});
  EXPECT_EQ(once.wait_for_end(), 0);
  EXPECT_THAT(once.rest(), AllOf(HasSubstr("chat.gguf  waiting"), Not(HasSubstr("\033["))));

  TypedTerminal interrupted({"top"});
  interrupted.expect("q quits");
  interrupted.type("\x03");
  EXPECT_EQ(interrupted.wait_for_end(), 0);
  EXPECT_THAT(interrupted.rest(), HasSubstr("\033[?1049l"));
}

TEST_F(AtATerminal, CtlListsTheModelsThatRun) {
  const std::string other = model("other.gguf");
  TypedTerminal first(chat({}));
  first.expect("\n> ");
  TypedTerminal second({"run", "-m", other, "-t", "1", "-c", "256", "--ram", "900MiB"});
  second.expect("\n> ");
  const ProgramRun listed = run_brimful({"ctl"});
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  EXPECT_THAT(listed.out, AllOf(HasSubstr("chat.gguf  waiting  budgets: host 1.00 GiB"),
                                HasSubstr("other.gguf  waiting  budgets: host 900.0 MiB")));
  const ProgramRun unclear = run_brimful({"ctl", "--ram", "800MiB"});
  EXPECT_EQ(unclear.exit_code, 1);
  EXPECT_THAT(
      unclear.err,
      AllOf(HasSubstr("chat.gguf"), HasSubstr("other.gguf"),
            HasSubstr("brimful: 2 models are running: name the process of one, as in: brimful ctl ")));
}

TEST_F(AtATerminal, CtlSaysWhereTheMachineHasLessThanIsAsked) {
  TypedTerminal running(chat({}));
  running.expect("\n> ");
  const ProgramRun changed = run_brimful({"ctl", "--ram", "900TiB"});
  EXPECT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_THAT(changed.out, AllOf(HasSubstr("note: --ram "), HasSubstr("is more than the machine has")));
  EXPECT_THAT(run_brimful({"ctl"}).out, Not(HasSubstr("TiB")));
}

/// The lines of a pipe are all messages, because a program that writes them means no commands.
TEST_F(AtATerminal, AChatWhoseInputIsAPipeAnswersLineByLine) {
  const std::string input = file("lines", "one\n\"\"\"two\nthree\"\"\"\n\n/bye\nlast without an end");
  std::string command = "'" BRIMFUL_PROGRAM "'";
  for (const std::string& word : chat({})) command += " '" + word + "'";
  const std::string all =
      "cat '" + input + "' | " + command + " >'" + path("out") + "' 2>'" + path("err") + "'";
  ASSERT_EQ(std::system(all.c_str()), 0);
  EXPECT_EQ(stats()["decode"]["tokens"], 5 * 4) << "five messages: the blank line is none";
  std::ifstream err(path("err"));
  const std::string said(std::istreambuf_iterator<char>(err), {});
  EXPECT_THAT(said, Not(AnyOf(HasSubstr("> "), HasSubstr("\033"), HasSubstr("/help lists")))) << said;
}

TEST_F(AtATerminal, HelpListsTheCommandsAndMistypedNamesAreRecognised) {
  const ProgramRun help = run_brimful({"help"});
  EXPECT_EQ(help.exit_code, 0) << help.err;
  for (const char* command : {"run", "serve", "batch", "pull", "list", "verify", "rm", "top", "ps", "stop",
                              "ctl", "plan", "probe", "show", "synth"}) {
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command + ' '));
    const ProgramRun about = run_brimful({"help", command});
    EXPECT_EQ(about.exit_code, 0) << about.err;
    EXPECT_THAT(about.out, AllOf(HasSubstr(std::string("brimful ") + command), HasSubstr("Example")));
    EXPECT_EQ(about.out, run_brimful({command, "--help"}).out);
  }
  expect_refused(run_brimful({"help", "nosuch"}), "there is no command 'nosuch'; see 'brimful help'");
  expect_refused(run_brimful({"help", "serv"}), "do you mean 'serve'?");
  expect_refused(run_brimful({"rnu"}), "do you mean 'run'?");
  expect_refused(run_brimful({"run", "--rma", "1GiB"}), "do you mean '--ram'? see 'brimful help run'");
  expect_refused(run_brimful({"--ram", "8GiB", "run", "m.gguf"}), "brimful run --ram");
  EXPECT_EQ(run_brimful({}).exit_code, 2);
  EXPECT_EQ(run_brimful({"help", "nosuch"}).exit_code, 2);
}

TEST_F(AtATerminal, FilesThatAreNoModelAreNamed) {
  expect_refused(
      run_brimful({"show", file("a.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:4\n")}),
      "git-lfs pointer");
  expect_refused(run_brimful({"run", "-m", file("b.gguf", "<!doctype html><html>"), "-p", "a"}), "web page");
  expect_refused(run_brimful({"plan", file("c.gguf", "PK\x03\x04 and so on")}), "PyTorch");
  expect_refused(run_brimful({"show", "-m", file("d.gguf", "")}), "the file is empty");
  expect_refused(run_brimful({"show", directory_.path().string()}), "is a directory");
}

TEST_F(AtATerminal, ASystemMessageWithoutATemplateIsNotIgnored) {
  expect_refused(
      run_brimful({"run", "-m", model("plain.gguf", ""), "--system", "Be kind", "-p", "a", "-n", "1"}),
      "--system");
  expect_refused(run_brimful({"run", "-m", model(), "--raw", "--system", "Be kind", "-p", "a", "-n", "1"}),
                 "--system");
}

TEST_F(AtATerminal, MinusOneIsARandomSeed) {
  const ProgramRun run =
      run_brimful({"run", "-m", model(), "-s", "-1", "-p", "a", "-n", "1", "--ram", "1GiB"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

}  // namespace
}  // namespace brimful::tests

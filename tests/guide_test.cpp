// The commands of README.md and docs/guide do what these documents say: a shell runs them.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "program_run.h"
#include "runtime_directory.h"
#include "sanitized.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;

/// Less than ctest's own limit, so that the test itself reports which command took too long.
constexpr std::chrono::seconds kLimit{270};
constexpr std::size_t kMostLines = 120;    // of the README
constexpr std::size_t kMostColumns = 120;  // of a line of the README, in characters

fs::path root() { return fs::path(BRIMFUL_EXAMPLES_DIR).parent_path().parent_path(); }

std::string content_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// README.md and all documents of docs/guide, relative to the root of the repository.
std::vector<std::string> documents() {
  std::vector<std::string> out{"README.md"};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root() / "docs/guide", error)) {
    if (entry.path().extension() == ".md") out.push_back("docs/guide/" + entry.path().filename().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// What stands between two lines of three backticks.
struct Block {
  std::string info;      ///< What follows the first three backticks: "sh", "sh gpu", "text", ...
  std::string text;      ///< Whole lines.
  std::size_t line = 0;  ///< The number of its first line in the document, from 1.
};

std::vector<Block> blocks_of(const std::string& document) {
  std::vector<Block> out;
  bool inside = false;
  std::size_t number = 0;
  std::istringstream lines(document);
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside) out.push_back({line.substr(3), "", number + 1});
    } else if (inside) {
      out.back().text += line + '\n';
    }
  }
  EXPECT_FALSE(inside) << "a block has no end";
  return out;
}

/// The commands that a block shows: all of its text, or of a session on a terminal what follows "$ ".
std::string commands_of(const Block& block) {
  if (block.info != "console") return block.text;
  std::string out;
  std::istringstream lines(block.text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("$ ")) out += line.substr(2) + '\n';
  }
  return out;
}

/// The words of each command of a script. It knows quotes, continued lines and comments, and that a line,
/// a pipe, an '&' or a parenthesis ends a command.
std::vector<std::vector<std::string>> words_of(const std::string& script) {
  std::vector<std::vector<std::string>> out(1);
  std::string word;
  bool in_word = false;
  char quote = 0;
  const auto end_word = [&] {
    if (in_word) out.back().push_back(word);
    word.clear();
    in_word = false;
  };
  const auto end_command = [&] {
    end_word();
    if (!out.back().empty()) out.emplace_back();
  };
  for (std::size_t i = 0; i < script.size(); ++i) {
    const char c = script[i];
    const bool has_next = i + 1 < script.size();
    if (c == '\\' && has_next && quote != '\'') {
      ++i;
      if (script[i] == '\n') continue;
      word += script[i];
      in_word = true;
    } else if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == '#' && !in_word) {
      while (i + 1 < script.size() && script[i + 1] != '\n') ++i;
    } else if (std::string_view("\n;|&()").find(c) != std::string_view::npos) {
      end_command();
    } else if (c == ' ' || c == '\t') {
      end_word();
    } else {
      word += c;
      in_word = true;
    }
  }
  end_command();
  if (out.back().empty()) out.pop_back();
  return out;
}

/// Whether a help text names a flag, as a word of its own.
bool names_flag(const std::string& help, const std::string& flag) {
  for (std::size_t at = help.find(flag); at != std::string::npos; at = help.find(flag, at + 1)) {
    const bool begins = at == 0 || help[at - 1] == ' ' || help[at - 1] == ',';
    const std::size_t end = at + flag.size();
    const bool ends = end == help.size() || (std::isalnum(static_cast<unsigned char>(help[end])) == 0 &&
                                             help[end] != '-' && help[end] != '_');
    if (begins && ends) return true;
  }
  return false;
}

/// The help of a command; an empty text where there is no such command. Asked once.
const std::string& help_of(const std::string& command) {
  static std::map<std::string, std::string> known;
  const auto [entry, is_new] = known.try_emplace(command);
  if (is_new) {
    const ProgramRun run = run_brimful({"help", command});
    if (run.exit_code == 0) entry->second = run.out + run.err;
  }
  return entry->second;
}

/// Checks a command that the test does not run: the program has the command and all its flags.
void check_flags(const std::vector<std::string>& words) {
  if (words.front() != "brimful" && !words.front().ends_with("/brimful")) return;
  if (words.size() < 2 || words[1].starts_with('-')) return;  // --version, --help
  const std::string& help = help_of(words[1]);
  ASSERT_FALSE(help.empty()) << "there is no command '" << words[1] << "'";
  for (const std::string& word : words) {
    const bool is_flag = word.size() > 1 && word[0] == '-' &&
                         (word[1] == '-' || std::isalpha(static_cast<unsigned char>(word[1])) != 0);
    if (!is_flag) continue;
    const std::string flag = word.substr(0, word.find('='));
    EXPECT_TRUE(names_flag(help, flag)) << "brimful " << words[1] << " has no flag " << flag;
  }
}

/// A port that nobody listens on at this moment.
std::string free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool found = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(fd);
  return found ? std::to_string(ntohs(address.sin_port)) : "8080";
}

std::string quoted(const fs::path& path) { return "'" + path.string() + "'"; }

/// How a script ended.
struct ShellRun {
  int exit_code = -1;
  bool timed_out = false;
  std::string output;  ///< What it wrote to stdout and stderr.
};

/// Runs `bash FLAGS SCRIPT` in `folder`. All processes that it leaves behind are killed.
ShellRun run_bash(const std::string& script, const fs::path& folder, const fs::path& scratch,
                  const char* flag = nullptr) {
  const std::string file = (scratch / "script.sh").string();
  const std::string output = (scratch / "output").string();
  std::ofstream(file, std::ios::binary) << script;
  const std::string where = folder.string();
  const auto begin = std::chrono::steady_clock::now();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setpgid(0, 0);
    const int in = ::open("/dev/null", O_RDONLY);
    const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(in, STDIN_FILENO);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    if (::chdir(where.c_str()) != 0) ::_exit(126);
    if (flag != nullptr) {
      ::execlp("bash", "bash", flag, file.c_str(), static_cast<char*>(nullptr));
    } else {
      ::execlp("bash", "bash", file.c_str(), static_cast<char*>(nullptr));
    }
    ::_exit(127);
  }
  ShellRun run;
  if (pid < 0) return run;
  ::setpgid(pid, pid);  // whichever of the two processes comes first
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (!run.timed_out && std::chrono::steady_clock::now() - begin > kLimit) {
      run.timed_out = true;
      ::kill(-pid, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(-pid, SIGKILL);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  run.output = content_of(output);
  return run;
}

/// Ends a script: nothing that it started with '&' may still run.
constexpr const char* kNothingRuns =
    "if [ -n \"$(jobs -pr)\" ]; then echo 'a program that the document started still runs'; exit 1; fi\n";

class Guide : public testing::TestWithParam<std::string> {
 protected:
  /// A folder like the root of a clone after scripts/demo. What a document writes stays in it.
  void SetUp() override {
    for (const char* const folder : {"build", "models"}) fs::create_directories(clone() / folder);
    fs::create_directory_symlink(fs::path(BRIMFUL_PROGRAM).parent_path(), clone() / "build/bin");
    for (const char* const folder : {"bench", "docs", "hardware", "scripts"})
      fs::create_directory_symlink(root() / folder, clone() / folder);
    fs::create_symlink(root() / "README.md", clone() / "README.md");
    if (!stories15m().empty()) fs::create_symlink(stories15m(), clone() / "models/stories15M-f32.gguf");
  }

  [[nodiscard]] fs::path scratch() const { return directory_.path(); }
  [[nodiscard]] fs::path clone() const { return scratch() / "clone"; }
  [[nodiscard]] static std::string document() { return content_of(root() / GetParam()); }

  TemporaryDirectory directory_;
  RuntimeDirectory runtime_;  // the sockets of what a document starts: `brimful ctl` finds nobody else
};

TEST_P(Guide, RunsAsItIsWritten) {
  if (kSanitized) GTEST_SKIP() << "no small budget holds a sanitizer";
  if (stories15m().empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  std::string script = "set -e\nunset BRIMFUL_API_KEY\nexport no_proxy='*'\nexport XDG_CACHE_HOME=" +
                       quoted(scratch() / "cache") +
                       "\nexport XDG_STATE_HOME=" + quoted(scratch() / "state") + "\n";
  bool has_commands = false;
  for (const Block& block : blocks_of(document())) {
    if (block.info != "sh") continue;
    has_commands = true;
    script += "echo '== " + GetParam() + ":" + std::to_string(block.line) + "'\n" + block.text;
  }
  if (!has_commands) GTEST_SKIP() << GetParam() << " has no commands that run everywhere";
  if (script.find("curl ") != std::string::npos && std::system("command -v curl >/dev/null") != 0)
    GTEST_SKIP() << "NOT TESTED: curl is missing";
  // Two tests, or a program of this machine, may want the usual port.
  script = std::regex_replace(script, std::regex("8080"), free_port());
  const ShellRun run = run_bash(script + kNothingRuns, clone(), scratch());
  EXPECT_FALSE(run.timed_out) << "it takes longer than " << kLimit.count() << " s";
  EXPECT_EQ(run.exit_code, 0) << run.output;
  // Whoever follows a document has a clone as it was, but for what lies in models.
  const std::set<std::string> expected{"README.md", "bench",  "build",  "docs",
                                       "hardware",  "models", "scripts"};
  for (const auto& entry : fs::directory_iterator(clone())) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(expected.contains(name)) << GetParam() << " leaves " << name << " behind";
  }
}

TEST_P(Guide, NamesOnlyCommandsAndFlagsThatExist) {
  const std::set<std::string> known{"sh",   "sh gpu", "sh network", "console", "text",
                                    "json", "toml",   "cmake",      "cpp"};
  for (const Block& block : blocks_of(document())) {
    SCOPED_TRACE(GetParam() + ":" + std::to_string(block.line));
    EXPECT_TRUE(known.contains(block.info)) << "a block says what it is, not '" << block.info << "'";
    if (!block.info.starts_with("sh") && block.info != "console") continue;
    const std::string commands = commands_of(block);
    EXPECT_FALSE(commands.empty()) << "a block without a command";
    const ShellRun run = run_bash(commands, clone(), scratch(), "-n");
    EXPECT_EQ(run.exit_code, 0) << run.output;
    for (const std::vector<std::string>& words : words_of(commands)) {
      check_flags(words);
      if (words.front().starts_with("scripts/") || words.front().starts_with("bench/")) {
        EXPECT_TRUE(fs::exists(root() / words.front())) << words.front() << " does not exist";
      }
    }
  }
}

TEST_P(Guide, LinksLeadToFiles) {
  const std::string text = document();
  const std::regex link(R"(\]\(([^)#\s]+)(#[^)\s]*)?\))");
  const fs::path folder = (root() / GetParam()).parent_path();
  for (auto found = std::sregex_iterator(text.begin(), text.end(), link); found != std::sregex_iterator();
       ++found) {
    const std::string target = (*found)[1];
    if (target.starts_with("http")) continue;
    EXPECT_TRUE(fs::exists(folder / target)) << GetParam() << " links to " << target;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Guide, testing::ValuesIn(documents()),
                         [](const testing::TestParamInfo<std::string>& test) {
                           std::string name = fs::path(test.param).stem().string();
                           std::erase_if(name, [](unsigned char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

TEST(Readme, IsShort) {
  std::istringstream lines(content_of(root() / "README.md"));
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const auto columns = std::count_if(line.begin(), line.end(),  // but for the later bytes of a character
                                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    EXPECT_LE(static_cast<std::size_t>(columns), kMostColumns) << "README.md:" << number;
  }
  EXPECT_LE(number, kMostLines);
}

}  // namespace
}  // namespace brimful::tests

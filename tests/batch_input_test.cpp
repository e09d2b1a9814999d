// Tests which input, output and flags `brimful batch` takes, and what must stay the same when a batch goes
// on.

#include "batch_requests.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <set>

#include "program_run.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class BatchInput : public testing::Test {
 protected:
  void SetUp() override {
    if (stories15m().empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  }

  using Flags = std::vector<std::pair<std::string, std::string>>;
  static inline const Flags kFewAtOnce = {{"--max-num-seqs", "4"}};  // The first requests are answered soon.

  /// The flags in `more` replace the usual ones.
  [[nodiscard]] std::vector<std::string> command(const Flags& more = {}) const {
    Flags flags = {{"-i", input_.string()},
                   {"-o", output_.string()},
                   {"-m", model_.string()},
                   {"--ram", kAmpleRam},
                   {"-t", "1"}};
    for (const auto& flag : more) {
      const auto usual = std::ranges::find(flags, flag.first, &Flags::value_type::first);
      usual == flags.end() ? flags.push_back(flag) : void(usual->second = flag.second);
    }
    std::vector<std::string> out = {"batch"};
    for (const auto& [flag, value] : flags) out.insert(out.end(), {flag, value});
    return out;
  }
  [[nodiscard]] ProgramRun run(const Flags& more = {}) const { return run_brimful(command(more)); }

  /// Runs a shell command in which `brimful` is the program. Standard input is empty, unless the command
  /// says otherwise.
  [[nodiscard]] ProgramRun run_shell(const std::string& text) const {
    const auto out = directory_.path() / "shell.out";
    const auto err = directory_.path() / "shell.err";
    write_file(directory_.path() / "shell.sh", "brimful() { " BRIMFUL_PROGRAM " \"$@\"; }\ncd '" +
                                                   directory_.path().string() + "'\n" + text + "\n");
    const std::string all = "bash '" + (directory_.path() / "shell.sh").string() + "' </dev/null >'" +
                            out.string() + "' 2>'" + err.string() + "'";
    const int status = std::system(all.c_str());
    ProgramRun run;
    run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    run.out = content_of(out);
    run.err = content_of(err);
    for (const auto& file : {out, err, directory_.path() / "shell.sh"}) std::filesystem::remove(file);
    return run;
  }

  /// Starts the batch and kills it, again and again, until some of its requests are answered and some are
  /// not.
  void stop_half_way() const {
    for (std::chrono::milliseconds limit{400};; limit = limit * 3 / 2) {
      const ProgramRun ran = run_brimful(command(kFewAtOnce), nullptr, limit);
      ASSERT_TRUE(ran.timed_out) << "it has ended: " << ran.err;
      if (std::filesystem::exists(journal_) && answered() > 0) return;
      ASSERT_LT(limit, kPatience);
    }
  }
  [[nodiscard]] int answered() const {
    constexpr int kPatienceMs = 20'000;  // A process that was killed may hold its lock for another moment.
    SQLite::Database database(journal_.string(), SQLite::OPEN_READWRITE, kPatienceMs);
    return database.tableExists("lines") ? database.execAndGet("SELECT count(failed) FROM lines").getInt()
                                         : 0;
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path model_ = stories15m();
  const std::filesystem::path input_ = directory_.path() / "in.jsonl";
  const std::filesystem::path output_ = directory_.path() / "out.jsonl";
  const std::filesystem::path errors_ = directory_.path() / "out.errors.jsonl";
  const std::filesystem::path journal_ = directory_.path() / "out.jsonl.brimful";
};

/// Makes a copy of the model with the same header and other weights.
std::filesystem::path another_model(const std::filesystem::path& model, const std::filesystem::path& to) {
  std::string content = content_of(model);
  for (std::size_t i = content.size() / 2; i < content.size(); i += 4) content[i] ^= 1;
  write_file(to, content);
  return to;
}

TEST_F(BatchInput, WhatChangesAnswersIsRefusedWhereABatchGoesOn) {
  write_file(input_, some_lines(80, 40));
  stop_half_way();
  const std::string kept = content_of(journal_);
  const auto other = another_model(model_, directory_.path() / "other.gguf");
  const ProgramRun with_other = run({{"-m", other.string()}});
  expect_refused(with_other, "-m was " + model_.filename().string() + " (");
  EXPECT_THAT(with_other.err, HasSubstr(" and is now other.gguf ("));
  EXPECT_THAT(with_other.err, HasSubstr("out.jsonl.brimful: this batch was started with"));

  write_file(directory_.path() / "chat.jinja", "{{ messages[0]['content'] }}");
  const ProgramRun with_flags = run({{"-c", "512"},
                                     {"--fa", "off"},
                                     {"--ub", "64"},
                                     {"-b", "64"},
                                     {"--ctk", "q8_0"},
                                     {"--served-model-name", "x"},
                                     {"--chat-template-file", (directory_.path() / "chat.jinja").string()}});
  for (const char* const said :
       {"-c was not given and is now 512", "-fa was auto and is now off", "-ub was not given and is now 64",
        "-b was not given and is now 64", "-ctk was f16 and is now q8_0", "--served-model-name was ",
        "--chat-template-file was not given and is now "})
    expect_refused(with_flags, said);
  const std::string lines = content_of(input_);
  write_file(input_, some_lines(3, 5));
  expect_refused(run(), "belongs to another input");
  write_file(input_, lines);
  EXPECT_EQ(content_of(journal_), kept) << "a batch that is refused stays as it is";

  // Threads, budgets and the place of the model change no answer.
  std::filesystem::create_symlink(model_, directory_.path() / "moved.gguf");
  Flags flags = {{"--ram", kSanitized ? "2GiB" : "300MiB"},
                 {"-t", "2"},
                 {"--max-num-seqs", "100"},
                 {"-m", (directory_.path() / "moved.gguf").string()}};
  const ProgramRun last = run(flags);
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_THAT(last.err, HasSubstr("continuing: "));
  const auto answers = outcomes_of(content_of(output_));
  ASSERT_EQ(answers.size(), 80U);
  std::set<std::string> models;
  std::set<std::string> fingerprints;
  for (const auto& [id, answer] : answers) {
    models.insert(answer.at("response").at("body").at("model"));
    fingerprints.insert(answer.at("response").at("body").at("system_fingerprint"));
  }
  EXPECT_EQ(models.size(), 1U);
  EXPECT_EQ(fingerprints.size(), 1U);

  // A finished batch is compared, too.
  EXPECT_THAT(run(flags).err, HasSubstr("already complete: "));
  flags.back().second = other.string();
  expect_refused(run(flags), "and this command asks for 'other.gguf' (fp_");
}

TEST_F(BatchInput, AJournalOfAnotherFormatIsRefusedWithItsReason) {
  write_file(input_, some_lines(3, 3));
  {
    SQLite::Database old(journal_.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    old.exec("CREATE TABLE batch (input TEXT NOT NULL)");
    old.exec(
        "CREATE TABLE lines (number INTEGER PRIMARY KEY, custom_id TEXT NOT NULL UNIQUE, offset INTEGER NOT "
        "NULL, bytes INTEGER NOT NULL, prompt INTEGER NOT NULL, tokens INTEGER NOT NULL, failed INTEGER, "
        "outcome TEXT)");
    old.exec("INSERT INTO lines VALUES (1, 'request 0', 0, 10, 5, 8, 0, '{}')");
  }
  expect_refused(run(), "out.jsonl.brimful: another version of Brimful started this batch");
  SQLite::Database(journal_.string(), SQLite::OPEN_READWRITE)
      .exec("UPDATE lines SET failed = NULL, outcome = NULL");
  const ProgramRun ran = run();
  ASSERT_EQ(ran.exit_code, 0) << "nothing was answered: it begins anew; " << ran.err;
  EXPECT_EQ(outcomes_of(content_of(output_)).size(), 3U);
}

TEST_F(BatchInput, ALineThatCannotBeReadFailsAlone) {
  const std::string good = some_lines(2, 3);
  const std::size_t second = good.find('\n') + 1;
  const auto with = [](std::string line, const std::string& from, const std::string& to) {
    return line.replace(line.find(from), from.size(), to);
  };
  const std::string broken = completion_line("broken", "x", 3).dump();
  std::string lines = good.substr(0, second);                                       // line 1
  lines += with(broken, "\"temperature\":0", "\"temperature\":1e400") + "\n";       // 2
  lines += with(broken, "\"x\"", "\"\xff\xfe\"") + "\n";                            // 3
  lines += with(broken, "\"x\"", std::string("\"a\0b\"", 5)) + "\n";                // 4
  lines += "no json\n\n";                                                           // 5, and a blank one
  lines += completion_line("nine MB", std::string(9 << 20, 'x'), 3).dump() + "\n";  // 7
  lines += completion_line("five MB", std::string(5 << 20, 'x'), 3).dump() + "\n";  // 8
  lines += good.substr(second);                                                     // 9
  write_file(input_, lines);
  const ProgramRun ran = run();
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("note: 5 lines cannot be read and fail: line 2: "));
  const auto answers = outcomes_of(content_of(output_));
  EXPECT_EQ(answers.size(), 2U);
  auto failed = outcomes_of(content_of(errors_));
  ASSERT_EQ(failed.size(), 6U);
  for (const int number : {2, 3, 4, 5, 7}) {
    const json& response = failed.at("batch_req_" + std::to_string(number)).at("response");
    EXPECT_EQ(response.at("status_code"), 400);
    EXPECT_THAT(response.at("body").at("error").at("message").get<std::string>(),
                testing::StartsWith("line " + std::to_string(number) + ": "));
  }
  EXPECT_THAT(failed.at("five MB").at("response").at("body").at("error").at("message").get<std::string>(),
              HasSubstr("the prompt has "));
  EXPECT_THAT(run().err, HasSubstr("already complete: "));

  // In shards the same lines fail, and they are merged with the others.
  const auto parts = directory_.path() / "parts.jsonl";
  for (const char* const shard : {"0/2", "1/2"}) {
    const ProgramRun part = run({{"--shard", shard}, {"-o", parts.string()}});
    ASSERT_EQ(part.exit_code, 0) << part.err;
  }
  const ProgramRun merged =
      run_brimful({"batch", "--merge", "2", "-i", input_.string(), "-o", parts.string()});
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_EQ(outcomes_of(content_of(parts)).size(), 2U);
  EXPECT_EQ(outcomes_of(content_of(directory_.path() / "parts.errors.jsonl")).size(), 6U);
}

TEST_F(BatchInput, AFileWithoutAnyLineThatCanBeReadIsRefused) {
  write_file(input_, "name,prompt\na,b\n");
  expect_refused(run(), "in.jsonl: line 1: ");
  EXPECT_FALSE(std::filesystem::exists(journal_));
  write_file(input_, some_lines(2, 3));
  EXPECT_EQ(run().exit_code, 0) << "the file that was mended is taken";
}

TEST_F(BatchInput, TheContextIsMadeForTheLinesThatFit) {
  const std::string huge = completion_line("huge", std::string(3 << 20, 'x'), 3).dump() + "\n";
  write_file(input_, huge + some_lines(2, 3));
  const ProgramRun ran = run();
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(outcomes_of(content_of(output_)).size(), 2U);
  EXPECT_EQ(outcomes_of(content_of(errors_)).size(), 1U);
  for (const auto& file : {output_, errors_}) std::filesystem::remove(file);
  write_file(input_, huge);
  const ProgramRun alone = run();
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_EQ(outcomes_of(content_of(errors_)).size(), 1U);
}

TEST_F(BatchInput, PipesAreReadOnceAndAnswersMayGoIntoThem) {
  write_file(input_, some_lines(3, 3));
  ASSERT_EQ(run().exit_code, 0);
  const auto texts = [](const std::string& lines) {
    std::map<std::string, std::string> out;
    for (const auto& [id, outcome] : outcomes_of(lines))
      out[id] = outcome.at("response").at("body").at("choices").at(0).at("text");
    return out;
  };
  const auto expected = texts(content_of(output_));
  std::filesystem::remove(output_);
  const std::string flags = " -m '" + model_.string() + "' -t 1 --ram " + kAmpleRam;
  const std::string state = "export XDG_STATE_HOME='" + (directory_.path() / "state").string() + "'\n";

  ProgramRun ran = run_shell("cat in.jsonl | brimful batch -i - -o out.jsonl" + flags);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(texts(content_of(output_)), expected);
  expect_refused(run_shell("cat in.jsonl | brimful batch -i - -o out.jsonl" + flags), "exists already");
  std::filesystem::remove(output_);

  ran = run_shell("brimful batch -i <(cat in.jsonl) -o out.jsonl" + flags);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(texts(content_of(output_)), expected);
  std::filesystem::remove(output_);

  ran = run_shell(state + "brimful batch -i in.jsonl -o -" + flags);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(texts(ran.out), expected);
  EXPECT_THAT(ran.err, HasSubstr("standard output: 3 answers"));

  // No answer is lost when nobody reads the pipe.
  const std::string both = "{ cat in.jsonl; echo no json; } | brimful batch -i - -o -" + flags;
  ran = run_shell(state + both + " >/dev/full");
  EXPECT_EQ(ran.exit_code, 1) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("standard output: "));
  ran = run_shell(state + both);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("continuing: 4 of 4 requests are answered"));
  EXPECT_EQ(outcomes_of(ran.out).size(), 4U) << "each request has its line, also where it failed";
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path() / "state/brimful/batches"));
  expect_refused(run_shell(state + "brimful batch -i - -o -" + flags + " </dev/null"),
                 "standard input: contains no request");

  for (const auto& file : std::filesystem::directory_iterator(directory_.path()))
    EXPECT_THAT(file.path().filename().string(), testing::AnyOf("in.jsonl", "state"));
}

TEST_F(BatchInput, TheSameRequestsFromAPipeContinueTheBatch) {
  write_file(input_, some_lines(80, 40));
  const std::string arguments =
      " batch -i - -o out.jsonl -m '" + model_.string() + "' -t 1 --max-num-seqs 4 --ram " + kAmpleRam;
  const std::string batch = "brimful" + arguments;
  for (double limit = 0.5; !std::filesystem::exists(journal_) || answered() == 0; limit *= 1.5) {
    ASSERT_LT(limit, 100);
    const ProgramRun ran = run_shell("cat in.jsonl | timeout -s KILL " + std::to_string(limit) +
                                     " " BRIMFUL_PROGRAM + arguments);
    ASSERT_NE(ran.exit_code, 0) << "it has ended";
  }
  expect_refused(run_shell("head -n 5 in.jsonl | " + batch), "belongs to another input");
  const ProgramRun last = run_shell("cat in.jsonl | " + batch);
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_THAT(last.err, HasSubstr("continuing: "));
  EXPECT_EQ(outcomes_of(content_of(output_)).size(), 80U);
  EXPECT_FALSE(std::filesystem::exists(journal_.string() + "-input"));
}

TEST_F(BatchInput, NoFileIsBothReadAndWritten) {
  write_file(input_, some_lines(2, 3));
  const std::string before = content_of(input_);
  const auto path = [&](const char* name) { return (directory_.path() / name).string(); };
  std::filesystem::create_symlink(input_, path("link.jsonl"));
  std::filesystem::create_hard_link(input_, path("hard.jsonl"));
  std::filesystem::create_directory_symlink(directory_.path(), path("folder"));
  for (const std::string& output :
       {input_.string(), path("link.jsonl"), path("hard.jsonl"), path("folder/in.jsonl")}) {
    expect_refused(run({{"-o", output}}), "is the same file as -i");
    expect_refused(run({{"--error-file", output}}), "is the same file as -i");
  }
  expect_refused(run({{"--error-file", path("folder/out.jsonl")}}), "--error-file");
  expect_refused(run({{"--error-file", output_.string() + ".brimful"}}), "is the same file as -o");
  expect_refused(run({{"--stats", input_.string()}}), "--stats");
  std::filesystem::rename(path("hard.jsonl"), path("out.0-of-2.jsonl"));
  expect_refused(run({{"-i", path("out.0-of-2.jsonl")}, {"--shard", "0/2"}}), "is the same file as -i");
  std::filesystem::rename(path("out.0-of-2.jsonl"), path("out.jsonl.part"));
  expect_refused(run({{"-i", path("out.jsonl.part")}}), "is the same file as -i");
  EXPECT_EQ(content_of(input_), before);
}

TEST_F(BatchInput, PartsOfOtherModelsAreNotPutTogether) {
  write_file(input_, some_lines(4, 3));
  const auto other = another_model(model_, directory_.path() / "other.gguf");
  EXPECT_EQ(run({{"--shard", "0/2"}}).exit_code, 0);
  EXPECT_EQ(run({{"--shard", "1/2"}, {"-m", other.string()}, {"--served-model-name", "other"}}).exit_code, 0);
  const std::vector<std::string> merge{"batch", "--merge",       "2", "-i", input_.string(),
                                       "-o",    output_.string()};
  const ProgramRun refused = run_brimful(merge);
  expect_refused(refused, "out.0-of-2.jsonl holds answers of '");
  EXPECT_THAT(refused.err, HasSubstr("out.1-of-2.jsonl of 'other' (fp_"));
  EXPECT_FALSE(std::filesystem::exists(output_));
  std::filesystem::remove(directory_.path() / "out.1-of-2.jsonl");
  EXPECT_EQ(run({{"--shard", "1/2"}}).exit_code, 0);
  EXPECT_EQ(run_brimful(merge).exit_code, 0) << "computed again with the same model";
  EXPECT_EQ(outcomes_of(content_of(output_)).size(), 4U);
}

/// The model was trained on 256 tokens. Longer texts would be nonsense.
TEST_F(BatchInput, ARequestGetsNoMoreTokensThanTheModelWasTrainedOn) {
  const auto line = [](const std::string& id, const std::string& prompt) {
    json out = completion_line(id, prompt, 100'000);
    out["body"]["ignore_eos"] = true;
    return out.dump() + "\n";
  };
  std::string long_prompt;
  for (int i = 0; i < 300; ++i) long_prompt += " day";
  write_file(input_, line("endless", "Once") + line("too long", long_prompt));
  const ProgramRun ran = run();
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const auto tokens = [&](const std::string& id) -> int {
    return outcomes_of(content_of(output_)).at(id)["response"]["body"]["usage"]["total_tokens"];
  };
  EXPECT_EQ(tokens("endless"), 257) << "the last token is not computed";
  const json failed = outcomes_of(content_of(errors_)).at("too long");
  EXPECT_EQ(failed["response"]["body"]["error"]["n_ctx"], 256) << failed;
  for (const auto& file : {output_, errors_}) std::filesystem::remove(file);

  write_file(input_, line("endless", "Once"));
  ASSERT_EQ(run({{"-c", "512"}}).exit_code, 0) << "-c says otherwise";
  EXPECT_EQ(tokens("endless"), 513);
}

/// Another type of the KV cache would give other answers, so a batch keeps the type with which it began.
TEST_F(BatchInput, TheTypeOfTheCacheThatWasChosenIsKept) {
  const Flags automatic = {{"-ctk", "auto"}, {"-ctv", "auto"}, {"-c", "2048"}, {"--max-num-seqs", "4"}};
  write_file(input_, some_lines(80, 40));
  for (std::chrono::milliseconds limit{400};; limit = limit * 3 / 2) {
    const ProgramRun ran = run_brimful(command(automatic), nullptr, limit);
    ASSERT_TRUE(ran.timed_out) << "it has ended: " << ran.err;
    if (std::filesystem::exists(journal_) && answered() > 0) break;
    ASSERT_LT(limit, kPatience);
  }
  {
    SQLite::Database journal(journal_.string(), SQLite::OPEN_READWRITE, 20'000);
    EXPECT_EQ(journal.execAndGet("SELECT value FROM choices WHERE name = '-ctk'").getString(), "f16");
    // This looks as if another machine had chosen the type.
    journal.exec("UPDATE choices SET value = 'f32'");
  }
  Flags with_stats = automatic;
  const auto stats = directory_.path() / "stats.json";
  with_stats.emplace_back("--stats", stats.string());
  const ProgramRun ran = run(with_stats);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(outcomes_of(content_of(output_)).size(), 80U);
  // 2048 tokens of 6 layers with 288 keys and 288 values: 13.5 MiB of F16, 27 MiB of F32.
  const json memory = json::parse(content_of(stats))["memory_bytes"];
  EXPECT_GT(memory["kv_cache"].get<std::uint64_t>(), (kMiB * 25).value) << memory;
}

}  // namespace
}  // namespace brimful::tests

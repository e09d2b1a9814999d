// The files and batches of `brimful serve`, which survive its end.

#include <SQLiteCpp/SQLiteCpp.h>
#include <gmock/gmock.h>
#include <filesystem>
#include <map>
#include <sstream>

#include "interference.h"
#include "program_run.h"
#include "served_program.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;
using Server = ServedProgram;

/// Makes the lines of a batch. Each request writes so many tokens.
std::string batch_lines(int count, int tokens) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    json body = completion(tokens);
    body["prompt"] = "Once upon a time " + std::to_string(i);
    body.erase("stream");
    out += json{{"custom_id", "r" + std::to_string(i)},
                {"method", "POST"},
                {"url", "/v1/completions"},
                {"body", body}}
               .dump() +
           "\n";
  }
  return out;
}

std::string upload(const Server& server, const std::string& content) {
  const json file = parsed(server.client().Post(
      "/v1/files",
      httplib::UploadFormDataItems{{"purpose", "batch", "", ""}, {"file", content, "in.jsonl", ""}}));
  EXPECT_EQ(file.value("bytes", 0U), content.size());
  return file.value("id", "");
}

json start_batch(const Server& server, const std::string& file,
                 const std::string& endpoint = "/v1/completions") {
  return parsed(server.client().Post(
      "/v1/batches",
      json{{"input_file_id", file}, {"endpoint", endpoint}, {"completion_window", "24h"}}.dump(), kJson));
}

json wait_for_batch(const Server& server, const std::string& id,
                    const std::function<bool(const json&)>& enough) {
  const auto deadline = std::chrono::steady_clock::now() + RunningProgram::kPatience;
  for (;;) {
    json batch = parsed(server.client().Get("/v1/batches/" + id));
    if (batch.is_null() || enough(batch) || std::chrono::steady_clock::now() > deadline) return batch;
    std::this_thread::sleep_for(20ms);
  }
}

json end_of_batch(const Server& server, const std::string& id) {
  return wait_for_batch(server, id, [](const json& batch) {
    for (const char* const end : {"completed", "failed", "cancelled", "expired"})
      if (batch.at("status") == end) return true;
    return false;
  });
}

/// Returns the text of an outcome, or its error.
std::string what_became(const json& outcome) {
  if (!outcome.at("error").is_null()) return outcome.at("error").at("code");
  const json& body = outcome.at("response").at("body");
  return body.contains("error") ? body.at("error").at("message") : body.at("choices").at(0).at("text");
}

/// Returns the outcomes in one file of a batch by their custom_id.
std::map<std::string, std::string> outcomes(const Server& server, const json& batch, const char* which) {
  std::map<std::string, std::string> out;
  if (batch.at(which).is_null()) return out;
  const auto got = server.client().Get("/v1/files/" + batch.at(which).get<std::string>() + "/content");
  EXPECT_EQ(got->status, 200);
  std::istringstream lines(got->body);
  for (std::string line; std::getline(lines, line);) {
    const json outcome = json::parse(line);
    EXPECT_TRUE(out.emplace(outcome.at("custom_id"), what_became(outcome)).second) << line;
  }
  return out;
}

class ServedBatches : public NeedsStories {};

TEST_F(ServedBatches, ABatchIsAnsweredBehindOtherRequests) {
  const TemporaryDirectory state;
  const Server server({"--ram", kAmpleRam, "--state", state.path().string()});
  auto client = server.client();
  const std::string file = upload(server, batch_lines(30, 40));
  const json batch = start_batch(server, file);
  EXPECT_EQ(batch.at("status"), "validating");
  const std::string id = batch.at("id");
  EXPECT_EQ(client.Delete("/v1/files/" + file)->status, 400) << "it is needed";
  EXPECT_EQ(client.Post("/v1/completions", completion(5).dump(), kJson)->status, 200);
  const json end = end_of_batch(server, id);
  EXPECT_EQ(end.at("status"), "completed") << end;
  EXPECT_EQ(end.at("request_counts"), (json{{"total", 30}, {"completed", 30}, {"failed", 0}}));
  EXPECT_TRUE(end.at("error_file_id").is_null());
  EXPECT_EQ(outcomes(server, end, "output_file_id").size(), 30U);

  EXPECT_EQ(parsed(client.Get("/v1/files?limit=1")).at("has_more"), true);
  EXPECT_EQ(parsed(client.Get("/v1/files?purpose=batch")).at("data").size(), 1U);
  EXPECT_EQ(parsed(client.Get("/v1/batches?after=" + id)).at("data").size(), 0U);
  EXPECT_EQ(parsed(client.Get("/v1/batches?purpose=batch")).at("data").size(), 1U)
      << "batches have no purpose";
  EXPECT_EQ(parsed(client.Get("/v1/batches")).at("data").at(0).at("id"), id);
  EXPECT_EQ(client.Get("/v1/batches?limit=0")->status, 400);
  EXPECT_EQ(client.Post("/v1/batches/" + id + "/cancel", "", kJson)->status, 400) << "it has ended";
  EXPECT_EQ(parsed(client.Delete("/v1/files/" + file)).at("deleted"), true);
  EXPECT_EQ(client.Get("/v1/files/" + file)->status, 404);
  EXPECT_EQ(client.Get("/v1/files/" + file + "/content")->status, 404);
}

TEST_F(ServedBatches, ABatchSaysWhatIsWrongWithItsLines) {
  const TemporaryDirectory state;
  const Server server({"--ram", kAmpleRam, "--state", state.path().string()});
  auto client = server.client();
  const std::string chat =
      R"({"custom_id":"c","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"x"}]}})";
  const json end = end_of_batch(
      server, start_batch(server, upload(server, batch_lines(2, 3) + "no json\n" + chat + "\n")).at("id"));
  EXPECT_EQ(end.at("status"), "failed");
  const json& wrong = end.at("errors").at("data");
  ASSERT_EQ(wrong.size(), 2U) << wrong;
  EXPECT_EQ(wrong.at(0).at("line"), 3);
  EXPECT_EQ(wrong.at(1).at("line"), 4);
  EXPECT_EQ(wrong.at(1).at("param"), "url");
  const std::string odd =
      R"({"custom_id":"c","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":[{"type":5}]}]}})";
  const json odd_end =
      end_of_batch(server, start_batch(server, upload(server, odd + "\n" + std::string(9 << 20, 'x') + "\n"),
                                       "/v1/chat/completions")
                               .at("id"));
  EXPECT_EQ(odd_end.at("status"), "failed");
  EXPECT_EQ(odd_end.at("errors").at("data").size(), 2U) << odd_end;
  EXPECT_EQ(end_of_batch(server, start_batch(server, upload(server, "\n")).at("id")).at("status"), "failed");

  EXPECT_EQ(client.Post("/v1/files", "{}", kJson)->status, 400);
  EXPECT_EQ(client.Post("/v1/files", httplib::UploadFormDataItems{{"purpose", "batch", "", ""}})->status,
            400);
  EXPECT_EQ(client.Post("/v1/batches", R"({"input_file_id":"file-no","endpoint":"/v1/completions"})", kJson)
                ->status,
            400);
  EXPECT_EQ(
      client.Post("/v1/batches", R"({"input_file_id":"file-no","endpoint":"/v1/images"})", kJson)->status,
      400);
  EXPECT_EQ(client.Get("/v1/batches/batch_no")->status, 404);
}

TEST_F(ServedBatches, WhatABatchHasComputedIsKeptWhenItIsCancelled) {
  const TemporaryDirectory state;
  const Server server({"--ram", kAmpleRam, "--state", state.path().string(), "--max-num-seqs", "2"});
  const std::string id = start_batch(server, upload(server, batch_lines(2000, 60))).at("id");
  wait_for_batch(server, id,
                 [](const json& batch) { return batch.at("request_counts").at("completed") > 0; });
  EXPECT_EQ(parsed(server.client().Post("/v1/batches/" + id + "/cancel", "", kJson)).at("status"),
            "cancelling");
  const json end = end_of_batch(server, id);
  EXPECT_EQ(end.at("status"), "cancelled");
  const auto written = outcomes(server, end, "output_file_id");
  const auto failed = outcomes(server, end, "error_file_id");
  EXPECT_GT(written.size(), 0U);
  EXPECT_GT(failed.size(), 0U);
  EXPECT_EQ(written.size() + failed.size(), 2000U) << "each is in one of them";
  for (const auto& [request, code] : failed) EXPECT_EQ(code, "batch_cancelled") << request;
}

TEST_F(ServedBatches, ABatchThatWaitsEndsAtOnceWhenItIsCancelled) {
  const TemporaryDirectory state;
  const Server server({"--ram", kAmpleRam, "--state", state.path().string(), "--max-num-seqs", "2"});
  const std::string file = upload(server, batch_lines(3000, 60));
  const std::string first = start_batch(server, file).at("id");
  const std::string second = start_batch(server, file).at("id");
  wait_for_batch(server, first, [](const json& batch) { return batch.at("status") == "in_progress"; });
  parsed(server.client().Post("/v1/batches/" + second + "/cancel", "", kJson));
  EXPECT_EQ(end_of_batch(server, second).at("status"), "cancelled");
  EXPECT_EQ(parsed(server.client().Get("/v1/batches/" + first)).at("status"), "in_progress");
}

TEST_F(ServedBatches, ABatchWhoseJournalIsGoneStartsAgain) {
  const TemporaryDirectory state;
  const std::vector<std::string> flags = {"--ram", kAmpleRam, "--state", state.path().string()};
  std::string id;
  {
    Server server(flags);
    id = start_batch(server, upload(server, batch_lines(60, 30))).at("id");
    wait_for_batch(server, id,
                   [](const json& batch) { return batch.at("request_counts").at("completed") > 0; });
    server.signal(SIGKILL);
    server.wait();
  }
  for (const auto& file : std::filesystem::directory_iterator(state.path() / "files"))
    if (file.path().has_extension()) std::filesystem::remove(file.path());
  const Server server(flags);
  const json end = end_of_batch(server, id);
  EXPECT_EQ(end.at("status"), "completed");
  EXPECT_EQ(outcomes(server, end, "output_file_id").size(), 60U);
}

TEST_F(ServedBatches, BatchesOutliveServersThatAreKilled) {
  const TemporaryDirectory state;
  const std::vector<std::string> flags = {"--ram", kAmpleRam, "--state", state.path().string()};
  std::map<std::string, std::string> expected;
  std::string id;
  {
    Server server(flags);
    const std::string file = upload(server, batch_lines(60, 30));
    const json undisturbed = end_of_batch(server, start_batch(server, file).at("id"));
    expected = outcomes(server, undisturbed, "output_file_id");
    id = start_batch(server, file).at("id");
    wait_for_batch(server, id,
                   [](const json& batch) { return batch.at("request_counts").at("completed") > 0; });
    const std::vector<std::string> another = {"serve", "-m",      stories15m().string(), "--port",
                                              "0",     "--state", flags.back()};
    expect_refused(run_brimful(another), "another server");
    server.signal(SIGKILL);
    server.wait();
  }
  for (const int signal : {SIGKILL, SIGTERM}) {
    Server server(flags);
    std::this_thread::sleep_for(300ms);
    server.signal(signal);
    server.wait();
  }
  Server server(flags);
  const json end = end_of_batch(server, id);
  EXPECT_EQ(end.at("status"), "completed");
  EXPECT_EQ(outcomes(server, end, "output_file_id"), expected) << "as if nothing had been";
  server.signal(SIGTERM);  // The journal is removed only after the batch was seen to end.
  server.wait();
  std::size_t left = 0;
  for (const auto& file : std::filesystem::directory_iterator(state.path() / "files"))
    left += file.path().has_extension() ? 1 : 0;
  EXPECT_EQ(left, 0U) << "no account is left";
}

TEST_F(ServedBatches, AServerWithOtherSettingsEndsABatchOfTheServerBefore) {
  const TemporaryDirectory state;
  std::vector<std::string> flags = {"--ram", kAmpleRam, "--max-num-seqs",
                                    "2",     "--state", state.path().string()};
  std::string id;
  {
    Server server(flags);
    id = start_batch(server, upload(server, batch_lines(200, 60))).at("id");
    wait_for_batch(server, id,
                   [](const json& batch) { return batch.at("request_counts").at("completed") > 0; });
    server.signal(SIGKILL);
    server.wait();
  }
  flags.insert(flags.end(), {"-c", "512"});
  const Server server(flags);
  const json end = end_of_batch(server, id);
  EXPECT_EQ(end.at("status"), "failed");
  const std::string why = end.at("errors").at("data").at(0).at("message");
  EXPECT_NE(why.find("-c was not given and is now 512"), std::string::npos) << why;
  const auto answers = outcomes(server, end, "output_file_id");
  const auto left = outcomes(server, end, "error_file_id");
  EXPECT_GT(answers.size(), 0U);
  EXPECT_EQ(answers.size() + left.size(), 200U) << "each request is in one of them";
  const json next = start_batch(server, upload(server, batch_lines(2, 3)));
  EXPECT_EQ(end_of_batch(server, next.at("id")).at("status"), "completed") << "a new batch is answered";
}

TEST_F(ServedBatches, ABatchThatEndsTheServerAgainAndAgainFails) {
  const TemporaryDirectory state;
  const std::vector<std::string> flags = {"--ram", kAmpleRam, "--state", state.path().string()};
  std::string id;
  {
    Server server(flags);
    id = start_batch(server, upload(server, batch_lines(60, 30))).at("id");
    server.signal(SIGKILL);
    server.wait();
  }
  {  // This looks as if two more starts had ended before a request was answered.
    SQLite::Database archive(state.path() / "archive.sqlite", SQLite::OPEN_READWRITE);
    SQLite::Statement attempts(archive, "INSERT OR REPLACE INTO attempts (id, count) VALUES (?, 2)");
    attempts.bind(1, id);
    attempts.exec();
  }
  const Server server(flags);
  const json end = end_of_batch(server, id);
  EXPECT_EQ(end.at("status"), "failed");
  EXPECT_THAT(end.at("errors").at("data").at(0).at("message").get<std::string>(),
              testing::HasSubstr("ended 2 times"));
  const json next = end_of_batch(server, start_batch(server, upload(server, batch_lines(2, 4))).at("id"));
  EXPECT_EQ(next.at("status"), "completed") << "others are computed";
}

/// Returns the outcome of each request of a batch, from both files.
std::map<std::string, std::string> all_outcomes(const Server& server, const json& batch) {
  auto out = outcomes(server, batch, "output_file_id");
  for (const auto& [request, what] : outcomes(server, batch, "error_file_id"))
    EXPECT_TRUE(out.emplace(request, "error: " + what).second) << request;
  return out;
}

// As with brimful batch: just before a call that changes the folder, the process ends, the call fails, or
// the disk is full. By default some of these places are tested; with BRIMFUL_TEST_KILLS all of them.
TEST_F(ServedBatches, InterferedWithAtAnyCallABatchIsAnsweredOnce) {
  if (kSanitized) GTEST_SKIP() << "NOT TESTED what calls that fail do: sanitizers are in their place";
  json too_long = json::parse(batch_lines(1, 2));
  too_long["custom_id"] = "too long";
  too_long["body"]["prompt"] = std::string(20'000, 'x');
  const std::string lines = batch_lines(3, 2) + too_long.dump() + "\n";
  const auto flags = [](const TemporaryDirectory& state) {
    return std::vector<std::string>{"--ram", kAmpleRam, "-c", "1024", "--state", state.path().string()};
  };
  int calls = 0;
  std::map<std::string, std::string> expected;
  {
    const TemporaryDirectory state;
    const Interference count("count", 0, state.path());
    Server server(flags(state));
    const json end = end_of_batch(server, start_batch(server, upload(server, lines)).at("id"));
    expected = all_outcomes(server, end);
    server.signal(SIGTERM);
    server.wait();
    const std::size_t at = server.said().find("calls: ");
    ASSERT_NE(at, std::string::npos) << server.said();
    calls = std::stoi(server.said().substr(at + 7));
  }
  ASSERT_EQ(expected.size(), 4U);
  ASSERT_GT(calls, 20);
  const bool all = std::getenv("BRIMFUL_TEST_KILLS") != nullptr;
  for (const std::string what : {"kill", "EIO", "ENOSPC"}) {
    for (int call = 1; call <= calls; call += all ? 1 : std::max(1, calls / (what == "kill" ? 7 : 3))) {
      SCOPED_TRACE(what + " at call " + std::to_string(call));
      const TemporaryDirectory state;
      std::string batch;
      {
        const Interference interference(what, call, state.path());
        Server server(flags(state), false);
        if (server.port() != 0) {
          const auto file = server.client().Post(
              "/v1/files",
              httplib::UploadFormDataItems{{"purpose", "batch", "", ""}, {"file", lines, "in.jsonl", ""}});
          const std::string id = file && file->status == 200 ? json::parse(file->body).value("id", "") : "";
          const auto created = server.client().Post(
              "/v1/batches", json{{"input_file_id", id}, {"endpoint", "/v1/completions"}}.dump(), kJson);
          if (created && created->status == 200) batch = json::parse(created->body).at("id");
          for (int i = 0; i < 60 && !batch.empty() && !server.has_ended(); ++i) {
            const auto now = server.client().Get("/v1/batches/" + batch);
            if (now && now->status == 200 && json::parse(now->body).at("status") == "completed") break;
            std::this_thread::sleep_for(50ms);
          }
        }
      }
      if (batch.empty()) continue;  // Nothing was promised to the client.
      const Server server(flags(state));
      const json end = end_of_batch(server, batch);
      EXPECT_EQ(end.at("status"), "completed") << end;
      EXPECT_EQ(all_outcomes(server, end), expected);
    }
  }
}

}  // namespace
}  // namespace brimful::tests

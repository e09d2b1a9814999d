// OpenAI's API of `brimful serve` as clients see it, also rude ones.

#include <gmock/gmock.h>

#include "program_run.h"
#include "runtime_directory.h"
#include "served_program.h"

namespace brimful::tests {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace std::chrono_literals;
using Server = ServedProgram;

/// Returns the JSON of each event. The last event, "[DONE]", must be there and is left out.
std::vector<json> events(const std::string& body) {
  std::vector<json> out;
  bool done = false;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << body.substr(at);
    if (end == std::string::npos) break;
    const std::string event = body.substr(at, end - at);
    at = end + 2;
    if (event.starts_with(':')) continue;  // A sign of life, which a slow machine sends.
    EXPECT_THAT(event, testing::StartsWith("data: "));
    done = event == "data: [DONE]";
    if (!done) out.push_back(json::parse(event.substr(6)));
  }
  EXPECT_TRUE(done);
  return out;
}

class ServeCommand : public NeedsStories {};

TEST_F(ServeCommand, AnswersAsRunDoesWholeAndInPieces) {
  Server server({"--ram", kAmpleRam});
  auto client = server.client();
  const ProgramRun alone =
      run_brimful({"run", "-m", stories15m().string(), "-p", "Once upon a time", "--raw", "-n", "24",
                   "--temp", "0", "--ignore-eos", "--spec-type", "none", "-t", "1"});
  const std::string text = alone.out.substr(0, alone.out.size() - 1);

  const auto whole = client.Post("/v1/completions", completion(24).dump(), kJson);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->status, 200);
  EXPECT_EQ(json::parse(whole->body).at("choices").at(0).at("text"), text);

  const auto pieces = client.Post("/v1/completions", completion(24, true).dump(), kJson);
  ASSERT_TRUE(pieces);
  EXPECT_EQ(pieces->get_header_value("Content-Type"), "text/event-stream");
  std::string joined;
  const auto all = events(pieces->body);
  for (const json& event : all) joined += event.at("choices").at(0).at("text");
  EXPECT_EQ(joined, text);
  EXPECT_GT(all.size(), 10U) << "it comes as it is written";
  EXPECT_EQ(all.back().at("choices").at(0).at("finish_reason"), "length");
}

TEST_F(ServeCommand, StreamsChatsWithUsageAndLogprobs) {
  Server server({"--ram", kAmpleRam});
  const json chat = {{"messages", {{{"role", "user"}, {"content", "Hello"}}}},
                     {"max_tokens", 6},
                     {"temperature", 0},
                     {"logprobs", true},
                     {"stream", true},
                     {"stream_options", {{"include_usage", true}}}};
  const auto got = server.client().Post("/v1/chat/completions", chat.dump(), kJson);
  ASSERT_TRUE(got);
  const auto all = events(got->body);
  ASSERT_GE(all.size(), 3U);
  EXPECT_EQ(all.front().at("choices").at(0).at("delta").at("role"), "assistant");
  const json& last = all[all.size() - 2].at("choices").at(0);
  EXPECT_EQ(last.at("finish_reason"), "length");
  std::size_t with_text = 0;
  std::size_t logprobs = 0;
  for (const json& event : all) {
    if (event.at("choices").empty() || event["choices"][0].at("logprobs").is_null()) continue;
    const std::size_t count = event["choices"][0]["logprobs"].at("content").size();
    logprobs += count;
    if (event["choices"][0]["delta"].contains("content")) with_text += count;
  }
  EXPECT_EQ(logprobs, 6U);
  EXPECT_GE(with_text, 5U) << "each comes with its text";
  EXPECT_TRUE(all.back().at("choices").empty());
  EXPECT_EQ(all.back().at("usage").at("completion_tokens"), 6);
}

TEST_F(ServeCommand, SaysWhatIsWrongInJson) {
  Server server({"--ram", kAmpleRam});
  auto client = server.client();
  const auto refused = [&](const httplib::Result& got, int status, const std::string& text) {
    ASSERT_TRUE(got);
    EXPECT_EQ(got->status, status) << got->body;
    EXPECT_THAT(json::parse(got->body).at("error").at("message").get<std::string>(), HasSubstr(text));
  };
  refused(client.Post("/v1/completions", "{\"prompt\":", kJson), 400, "not valid JSON");
  refused(client.Post("/v1/completions", "[1]", kJson), 400, "object");
  refused(client.Post("/v1/completions", std::string(3000, '[') + std::string(3000, ']'), kJson), 400,
          "nested");
  refused(client.Post("/v1/completions", "\xff\xfe", kJson), 400, "not valid JSON");
  refused(client.Post("/v1/completions", "", kJson), 400, "not valid JSON");
  refused(client.Post("/v1/completions", R"({"prompt":"x","temperature":9})", kJson), 400, "temperature");
  refused(client.Post("/v1/chat/completions", R"({"messages":[]})", kJson), 400, "messages");
  refused(client.Post("/v1/nothing", "{}", kJson), 404, "/v1/nothing");
  refused(client.Get("/v1/completions"), 405, "POST, OPTIONS");
  refused(client.Get("/v1/models/other"), 404, "other");
  refused(client.Post("/tokenize", "{}", kJson), 400, "content");
  refused(client.Post("/v1/completions", json{{"prompt", std::string(200'000, 'x')}}.dump(), kJson), 400,
          "tokens");
  refused(client.Post("/v1/completions", json{{"prompt", std::vector<int>(600'000, 1)}}.dump(), kJson), 400,
          "250000 values");
  const auto large = client.Post("/v1/completions", std::string(9 << 20, ' '), kJson);
  ASSERT_TRUE(large);
  EXPECT_EQ(large->status, 413);
  EXPECT_EQ(client.Get("/health")->status, 200) << "and it goes on";
  EXPECT_EQ(
      json::parse(client.Post("/tokenize", R"({"content":"Once upon"})", kJson)->body).at("tokens").size(),
      2U);
}

TEST_F(ServeCommand, MalformedHttpEndsOnlyItsOwnConnection) {
  Server server({"--ram", kAmpleRam});
  for (const std::string& bytes :
       {std::string("\0\0\0\0\r\n\r\n", 8), std::string("GET / HTTP/9.9\r\n\r\n"),
        std::string("POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n"),
        std::string("POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        std::string(100'000, 'A')}) {
    const int socket = server.connect();
    (void)::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ::close(socket);
  }
  EXPECT_EQ(server.client().Get("/health")->status, 200);
}

TEST_F(ServeCommand, KeysKeepOthersOut) {
  Server server({"--ram", kAmpleRam, "--api-key", "secret"});
  auto client = server.client();
  const auto without = client.Post("/v1/completions", completion(1).dump(), kJson);
  EXPECT_EQ(without->status, 401);
  EXPECT_EQ(json::parse(without->body).at("error").at("code"), "invalid_api_key");
  EXPECT_EQ(client.Get("/v1/models", httplib::Headers{{"Authorization", "Bearer secreT"}})->status, 401);
  EXPECT_EQ(client.Get("/v1/models", httplib::Headers{{"Authorization", "Bearer secret"}})->status, 200);
  EXPECT_EQ(client.Get("/health")->status, 200) << "tells nothing";
}

TEST_F(ServeCommand, AnAddressIsOneServers) {
  const Server server({"--ram", kAmpleRam});
  expect_refused(run_brimful({"serve", stories15m().string(), "--port", std::to_string(server.port())}),
                 "another program");
  expect_refused(run_brimful({"serve", stories15m().string(), "--port", "0", "--api-key-file", "/no/such"}),
                 "--api-key-file");
}

std::vector<std::string> plus(std::vector<std::string> flags, const std::vector<std::string>& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

TEST_F(ServeCommand, FullQueueSaysWhenToComeAgain) {
  Server server(plus({"--ram", kAmpleRam, "--max-num-seqs", "1", "--max-queue", "1"}, kEndless));
  const HeldRequest runs(server);
  const HeldRequest waits(server);
  ASSERT_TRUE(server.becomes("llamacpp:requests_deferred", 1));
  const auto got = server.client().Post("/v1/completions", completion(1).dump(), kJson);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 429);
  EXPECT_GE(std::stoi(got->get_header_value("Retry-After")), 1);
}

TEST_F(ServeCommand, ClientsThatGoAwayFreeTheirSequences) {
  Server server(plus({"--ram", kAmpleRam, "--max-num-seqs", "1"}, kEndless));
  for (const bool stream : {false, true}) {
    HeldRequest held(server, stream);
    ASSERT_TRUE(server.becomes("llamacpp:requests_processing", 1));
    held.let_go();
    EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 0)) << "stream: " << stream;
  }
}

TEST_F(ServeCommand, SlowReadersHoldNobodyUp) {
  const Server server({"--ram", kAmpleRam, "--max-num-seqs", "8", "-c", "8192"});
  std::vector<int> sockets;
  json wordy = completion(700, true);
  wordy["logprobs"] = 20;
  const std::string body = wordy.dump();
  for (int i = 0; i < 6; ++i) {
    const int socket = server.connect();
    const int small = 1024;
    ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    const std::string request =
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        "application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    ASSERT_EQ(::send(socket, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    sockets.push_back(socket);
  }
  ASSERT_TRUE(server.becomes("llamacpp:requests_processing", 6));
  EXPECT_EQ(parsed(server.client().Post("/v1/completions", completion(20).dump(), kJson))
                .at("usage")
                .at("completion_tokens"),
            20);
  EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 0))
      << "what they asked for is written all the same";
  for (const int socket : sockets) ::close(socket);
  EXPECT_EQ(server.client().Get("/health")->status, 200);
}

constexpr int kMore = kSanitized ? 1000 : 340;  // In MiB.
constexpr int kLess = kSanitized ? 800 : 250;
std::string mib(int count) { return std::to_string(count) + "MiB"; }

/// The text of a stream's events so far, and whether the client wants to go on.
class StreamedText {
 public:
  /// Lets the client disconnect with the next event.
  void enough() { enough_ = true; }
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }
  void ask(const Server& server, const json& body) {
    server.client().Post("/v1/completions", {}, body.dump(), kJson, [&](const char* data, std::size_t size) {
      add(std::string_view(data, size));
      return !enough_;
    });
  }

 private:
  void add(std::string_view bytes) {
    const std::lock_guard lock(mutex_);
    unread_ += bytes;
    for (std::size_t end = 0; (end = unread_.find("\n\n")) != std::string::npos; unread_.erase(0, end + 2)) {
      if (!unread_.starts_with("data: {")) continue;
      const json event = json::parse(unread_.substr(6, end - 6));
      for (const json& choice : event.at("choices")) text_ += choice.at("text").get<std::string>();
    }
  }

  mutable std::mutex mutex_;
  std::string unread_;
  std::string text_;
  std::atomic<bool> enough_ = false;
};

// A game starts, and the model gives up memory. Its text does not change. The text continues until the
// budgets have changed, however fast the machine writes.
TEST_F(ServeCommand, BudgetsMoveWhileItWrites) {
  const RuntimeDirectory sockets;
  const std::vector<std::string> flags = {"--ram", mib(kMore), "--max-num-seqs", "1", "-c", "8192"};
  std::string moved;
  {
    const Server server(flags);
    StreamedText stream;
    {
      const std::jthread client([&] { stream.ask(server, completion(-1, true)); });
      EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 1));
      for (const int budget : {kLess, kMore}) {
        const ProgramRun changed = run_brimful({"ctl", "--ram", mib(budget)});
        EXPECT_EQ(changed.exit_code, 0) << changed.err;
      }
      EXPECT_NE(run_brimful({"ctl", "--ram", "1MiB"}).exit_code, 0);
      EXPECT_GE(server.metric("brimful:sequences_preempted_total"), 1);
      EXPECT_EQ(server.metric("llamacpp:requests_processing"), 1) << "it writes all the while";
      const std::size_t before = stream.text().size();
      while (stream.text().size() < before + 200 && !server.has_ended()) std::this_thread::sleep_for(5ms);
      stream.enough();
    }
    moved = stream.text();
  }
  const Server server(flags);
  StreamedText undisturbed;
  {
    const std::jthread client([&] { undisturbed.ask(server, completion(-1, true)); });
    while (undisturbed.text().size() < moved.size() && !server.has_ended()) std::this_thread::sleep_for(5ms);
    undisturbed.enough();
  }
  EXPECT_EQ(undisturbed.text().substr(0, moved.size()), moved);
}

TEST_F(ServeCommand, TimeIsLimited) {
  Server server({"--ram", kAmpleRam, "-c", "8192", "--timeout", "1"});
  const auto got = server.client().Post("/v1/completions", completion(1'000'000).dump(), kJson);
  ASSERT_TRUE(got);
  // A small context may be full earlier.
  if (got->status != 200) {
    EXPECT_THAT(got->body, HasSubstr("within 1 s"));
  }
  EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 0));
}

TEST_F(ServeCommand, ASignalLetsItFinishWhatItHas) {
  Server server(plus({"--ram", kAmpleRam, "--max-num-seqs", "1"}, kEndless));
  HeldRequest held(server);
  ASSERT_TRUE(server.becomes("llamacpp:requests_processing", 1));
  std::vector<std::jthread> clients;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 2; ++i)
    clients.emplace_back([&] {
      const auto got = server.client().Post("/v1/completions", completion(20).dump(), kJson);
      if (got && got->status == 200) ++answered;
    });
  ASSERT_TRUE(server.becomes("llamacpp:requests_deferred", 2));
  server.signal(SIGTERM);
  EXPECT_TRUE(server.says("stopping after 3 open requests"));
  held.let_go();
  EXPECT_EQ(server.wait(), 0) << server.said();
  clients.clear();
  EXPECT_EQ(answered, 2);
}

TEST_F(ServeCommand, ASignalLetsStreamsComeToTheirEnd) {
  Server server(plus({"--ram", kAmpleRam, "--max-num-seqs", "1"}, kEndless));
  HeldRequest held(server);
  ASSERT_TRUE(server.becomes("llamacpp:requests_processing", 1));
  std::vector<std::jthread> clients;
  std::atomic<int> whole = 0;
  for (int i = 0; i < 2; ++i)
    clients.emplace_back([&] {
      const auto got = server.client().Post("/v1/completions", completion(20, true).dump(), kJson);
      if (!got) return;
      const auto all = events(got->body);
      if (all.back().at("choices").at(0).at("finish_reason") == "length") ++whole;
    });
  ASSERT_TRUE(server.becomes("llamacpp:requests_deferred", 2));
  server.signal(SIGTERM);
  ASSERT_TRUE(server.says("stopping after 3 open requests"));
  const auto late = server.client().Post("/v1/completions", completion(2).dump(), kJson);
  EXPECT_TRUE(!late || late->status == 503);
  held.let_go();
  EXPECT_EQ(server.wait(), 0) << server.said();
  clients.clear();
  EXPECT_EQ(whole, 2);
}

TEST_F(ServeCommand, AConversationIsNotComputedAgain) {
  const Server server({"--ram", kAmpleRam});
  auto client = server.client();
  std::string said;
  for (int i = 0; i < 12; ++i) said += "Once upon a time there was a dog. ";
  std::int64_t before = 0;
  for (int turn = 0; turn < 3; ++turn) {
    json question = completion(20);
    question["prompt"] = said;
    // Nobody could repeat this answer, so everything that is cached may be used.
    question["temperature"] = 0.7;
    question["top_k"] = 1;
    const json answer = parsed(client.Post("/v1/completions", question.dump(), kJson));
    const json& usage = answer.at("usage");
    const std::int64_t prompt = usage.at("prompt_tokens");
    const std::int64_t cached = usage.at("prompt_tokens_details").at("cached_tokens");
    if (turn == 0) {
      EXPECT_EQ(cached, 0);
    } else {
      EXPECT_GE(cached, before) << "all of the question before";
      EXPECT_LT(cached, prompt);
    }
    before = prompt;
    said += answer.at("choices").at(0).at("text").get<std::string>() + " And then?";
  }
}

TEST_F(ServeCommand, SeveralPromptsAndSeveralAnswers) {
  const Server server({"--ram", kAmpleRam});
  auto client = server.client();
  const auto ask = [&](const json& more) {
    json body = completion(8);
    body.update(more);
    return parsed(client.Post("/v1/completions", body.dump(), kJson));
  };
  const json one = ask({{"prompt", "A dog"}});
  const json other = ask({{"prompt", "Once upon a time"}});
  const json both = ask({{"prompt", {"A dog", "Once upon a time"}}, {"n", 2}});
  ASSERT_EQ(both.at("choices").size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(both.at("choices").at(i).at("index"), i);
    EXPECT_EQ(both.at("choices").at(i).at("text"), (i < 2 ? one : other).at("choices").at(0).at("text"));
  }
  const auto sum = [&](const char* key) {
    return one.at("usage").at(key).get<int>() + other.at("usage").at(key).get<int>();
  };
  EXPECT_EQ(both.at("usage").at("prompt_tokens"), sum("prompt_tokens"));
  EXPECT_EQ(both.at("usage").at("completion_tokens"), 2 * sum("completion_tokens"));
  const json free = ask({{"n", 3}, {"temperature", 1}, {"seed", 5}});
  EXPECT_NE(free.at("choices").at(0).at("text"), free.at("choices").at(1).at("text"));
  EXPECT_EQ(client.Post("/v1/completions", R"({"prompt":"x","n":129})", kJson)->status, 400);
}

TEST_F(ServeCommand, FiveHundredClientsAtOnce) {
  Server server({"--ram", kAmpleRam});
  std::atomic<int> answered = 0;
  std::atomic<int> sent_away = 0;
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 500; ++i)
      clients.emplace_back([&] {
        const auto got = server.client().Post("/v1/completions", completion(2).dump(), kJson);
        if (got && got->status == 200) ++answered;
        if (got && got->status == 429) ++sent_away;
      });
  }
  EXPECT_EQ(answered + sent_away, 500);
  EXPECT_GE(answered, 32);
  EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 0));
}

TEST_F(ServeCommand, TextsBecomeVectorsOfLengthOne) {
  const Server server({"--ram", kAmpleRam});
  auto client = server.client();
  const auto ask = [&](const json& body) {
    return parsed(client.Post("/v1/embeddings", body.dump(), kJson));
  };
  const json two = ask({{"input", {"Once upon a time", "a dog"}}});
  ASSERT_EQ(two.at("data").size(), 2U);
  EXPECT_EQ(two.at("data").at(1).at("index"), 1);
  const auto vector = two.at("data").at(0).at("embedding").get<std::vector<float>>();
  double squares = 0;
  for (const float value : vector) squares += static_cast<double>(value) * value;
  EXPECT_NEAR(squares, 1, 1e-5);
  EXPECT_EQ(two.at("usage").at("total_tokens"), two.at("usage").at("prompt_tokens"));

  const json short_one = ask({{"input", "Once upon a time"}, {"dimensions", 3}});
  EXPECT_EQ(short_one.at("data").at(0).at("embedding").size(), 3U);
  const json text = ask({{"input", "Once upon a time"}, {"encoding_format", "base64"}});
  EXPECT_EQ(text.at("data").at(0).at("embedding").get<std::string>().size(), (vector.size() * 4 + 2) / 3 * 4);
  const auto refused = [&](const json& body, const std::string& why) {
    const auto got = client.Post("/v1/embeddings", body.dump(), kJson);
    EXPECT_EQ(got->status, 400);
    EXPECT_THAT(got->body, HasSubstr(why));
  };
  refused({{"input", json::array()}}, "input");
  refused({{"input", {1, -2}}}, "input");
  refused({{"input", "x"}, {"dimensions", 100'000}}, "dimensions");
  refused({{"input", "x"}, {"encoding_format", "hex"}}, "encoding_format");
  refused({{"input", std::vector<std::string>(5000, "x")}}, "inputs");
}

TEST_F(ServeCommand, BudgetsMoveOverHttp) {
  const RuntimeDirectory sockets;
  const Server server({"--ram", mib(kMore), "--max-num-seqs", "2", "-c", "1024"});
  auto client = server.client();
  const json changed = parsed(client.Post("/brimful/budgets", json{{"ram", mib(kLess)}}.dump(), kJson));
  EXPECT_EQ(changed.at("tiers").at(0).at("budget_bytes"), kLess << 20);
  EXPECT_EQ(parsed(client.Get("/brimful/status")).at("tiers").at(0).at("budget_bytes"), kLess << 20);
  EXPECT_EQ(client.Post("/brimful/budgets", R"({"ram":"1MiB"})", kJson)->status, 409);
  EXPECT_EQ(client.Post("/brimful/budgets", R"({"ram":true})", kJson)->status, 400);
  EXPECT_EQ(client.Post("/brimful/budgets", "{}", kJson)->status, 400);
  EXPECT_EQ(client.Post("/v1/completions", completion(5).dump(), kJson)->status, 200) << "it goes on";
}

}  // namespace
}  // namespace brimful::tests

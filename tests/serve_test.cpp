// `strata serve`: OpenAI's API, as clients meet it, the rude ones among them.

#include <cpp-httplib/httplib.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "interference.h"
#include "program_run.h"
#include "runtime_directory.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace strata::tests {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace std::chrono_literals;

/// The program, until it is stopped.
class Server {
 public:
  explicit Server(const std::vector<std::string>& more, bool must_start = true) {
    std::vector<std::string> arguments = {STRATA_PROGRAM, "serve", "-m", stories15m().string(),
                                          "--port",       "0",     "-t", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], STDERR_FILENO);
      std::vector<char*> argv;
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      ::execv(STRATA_PROGRAM, argv.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    // Its words are read to the end, so that it is never held up.
    reader_ = std::thread([this, fd = ends[0]] {
      char byte = 0;
      while (::read(fd, &byte, 1) == 1) {
        const std::lock_guard lock(mutex_);
        said_ += byte;
      }
      ::close(fd);
      ended_ = true;
    });
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (port_ == 0 && !ended_ && std::chrono::steady_clock::now() < deadline) {
      const std::string text = said();
      const std::size_t at = text.find("listening on http://127.0.0.1:");
      if (at != std::string::npos && text.find('\n', at) != std::string::npos)
        port_ = std::stoi(text.substr(at + 30));
      std::this_thread::sleep_for(10ms);
    }
    EXPECT_TRUE(port_ != 0 || !must_start) << said();
  }
  ~Server() {
    if (status_) return;
    signal(SIGKILL);
    wait();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  int wait() {
    if (!status_) {
      int status = 0;
      ::waitpid(pid_, &status, 0);
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
      reader_.join();
    }
    return *status_;
  }
  [[nodiscard]] std::string said() const {
    const std::lock_guard lock(mutex_);
    return said_;
  }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] bool has_ended() const { return ended_; }
  /// A plain socket.
  [[nodiscard]] int connect() const {
    const int out = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{.sin_family = AF_INET,
                        .sin_port = htons(static_cast<std::uint16_t>(port_)),
                        .sin_addr = {},
                        .sin_zero = {}};
    ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(::connect(out, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return out;
  }
  [[nodiscard]] httplib::Client client() const {
    httplib::Client out("127.0.0.1", port_);
    out.set_read_timeout(100s);
    return out;
  }
  /// Of /metrics.
  [[nodiscard]] double metric(const std::string& name) const {
    const auto got = client().Get("/metrics");
    const std::size_t at = got ? got->body.find("\n" + name + " ") : std::string::npos;
    return at == std::string::npos ? -1 : std::stod(got->body.substr(at + name.size() + 2));
  }
  [[nodiscard]] bool becomes(const std::string& name, double value,
                             std::chrono::milliseconds limit = 20s) const {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (metric(name) != value) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(20ms);
    }
    return true;
  }

 private:
  pid_t pid_ = 0;
  int port_ = 0;
  std::thread reader_;
  mutable std::mutex mutex_;
  std::string said_;
  std::atomic<bool> ended_ = false;
  std::optional<int> status_;
};

constexpr const char* kJson = "application/json";

json completion(int tokens, bool stream = false) {
  return {{"prompt", "Once upon a time"},
          {"max_tokens", tokens},
          {"temperature", 0},
          {"ignore_eos", true},
          {"stream", stream}};
}

json parsed(const httplib::Result& got) {
  EXPECT_TRUE(got);
  EXPECT_EQ(got ? got->status : 0, 200) << (got ? got->body : "");
  return got && got->status == 200 ? json::parse(got->body) : json();
}

/// Lines of a batch; each writes so many tokens.
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
  const auto deadline = std::chrono::steady_clock::now() + 60s;
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

/// Its text, or what stands instead of it.
std::string what_became(const json& outcome) {
  if (!outcome.at("error").is_null()) return outcome.at("error").at("code");
  const json& body = outcome.at("response").at("body");
  return body.contains("error") ? body.at("error").at("message") : body.at("choices").at(0).at("text");
}

/// By custom_id.
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

/// The JSON of each event; the last one, "[DONE]", is left out and must be there.
std::vector<json> events(const std::string& body) {
  std::vector<json> out;
  bool done = false;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << body.substr(at);
    if (end == std::string::npos) break;
    const std::string event = body.substr(at, end - at);
    EXPECT_THAT(event, testing::StartsWith("data: "));
    done = event == "data: [DONE]";
    if (!done) out.push_back(json::parse(event.substr(6)));
    at = end + 2;
  }
  EXPECT_TRUE(done);
  return out;
}

class ServeCommand : public testing::Test {
 protected:
  void SetUp() override {
    if (stories15m().empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  }
};

TEST_F(ServeCommand, AnswersAsRunDoesWholeAndInPieces) {
  Server server({"--ram", "256MiB"});
  auto client = server.client();
  const ProgramRun alone =
      run_strata({"run", "-m", stories15m().string(), "-p", "Once upon a time", "--raw", "-n", "24", "--temp",
                  "0", "--ignore-eos", "--spec-type", "none", "-t", "1"});
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
  Server server({"--ram", "256MiB"});
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
  EXPECT_EQ(last.at("logprobs").at("content").size(), 6U);
  EXPECT_TRUE(all.back().at("choices").empty());
  EXPECT_EQ(all.back().at("usage").at("completion_tokens"), 6);
}

TEST_F(ServeCommand, SaysWhatIsWrongInJson) {
  Server server({"--ram", "256MiB"});
  auto client = server.client();
  const auto refused = [&](const httplib::Result& got, int status, const std::string& text) {
    ASSERT_TRUE(got);
    EXPECT_EQ(got->status, status) << got->body;
    EXPECT_THAT(json::parse(got->body).at("error").at("message").get<std::string>(), HasSubstr(text));
  };
  refused(client.Post("/v1/completions", "{\"prompt\":", kJson), 400, "no JSON");
  refused(client.Post("/v1/completions", "[1]", kJson), 400, "object");
  refused(client.Post("/v1/completions", std::string(3000, '[') + std::string(3000, ']'), kJson), 400,
          "nested");
  refused(client.Post("/v1/completions", "\xff\xfe", kJson), 400, "no JSON");
  refused(client.Post("/v1/completions", "", kJson), 400, "no JSON");
  refused(client.Post("/v1/completions", R"({"prompt":"x","temperature":9})", kJson), 400, "temperature");
  refused(client.Post("/v1/chat/completions", R"({"messages":[]})", kJson), 400, "messages");
  refused(client.Post("/v1/nothing", "{}", kJson), 404, "/v1/nothing");
  refused(client.Get("/v1/completions"), 404, "/v1/completions");
  refused(client.Get("/v1/models/other"), 404, "other");
  refused(client.Post("/tokenize", "{}", kJson), 400, "content");
  refused(client.Post("/v1/completions", json{{"prompt", std::string(200'000, 'x')}}.dump(), kJson), 400,
          "tokens");
  const auto large = client.Post("/v1/completions", std::string(9 << 20, ' '), kJson);
  ASSERT_TRUE(large);
  EXPECT_EQ(large->status, 413);
  EXPECT_EQ(client.Get("/health")->status, 200) << "and it goes on";
  EXPECT_EQ(
      json::parse(client.Post("/tokenize", R"({"content":"Once upon"})", kJson)->body).at("tokens").size(),
      2U);
}

TEST_F(ServeCommand, MalformedHttpEndsOnlyItsOwnConnection) {
  Server server({"--ram", "256MiB"});
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
  Server server({"--ram", "256MiB", "--api-key", "secret"});
  auto client = server.client();
  const auto without = client.Post("/v1/completions", completion(1).dump(), kJson);
  EXPECT_EQ(without->status, 401);
  EXPECT_EQ(json::parse(without->body).at("error").at("code"), "invalid_api_key");
  EXPECT_EQ(client.Get("/v1/models", httplib::Headers{{"Authorization", "Bearer secreT"}})->status, 401);
  EXPECT_EQ(client.Get("/v1/models", httplib::Headers{{"Authorization", "Bearer secret"}})->status, 200);
  EXPECT_EQ(client.Get("/health")->status, 200) << "tells nothing";
}

TEST_F(ServeCommand, AnAddressIsOneServers) {
  const Server server({"--ram", "256MiB"});
  expect_refused(run_strata({"serve", stories15m().string(), "--port", std::to_string(server.port())}),
                 "another program");
  expect_refused(run_strata({"serve", stories15m().string(), "--port", "0", "--api-key-file", "/no/such"}),
                 "--api-key-file");
}

TEST_F(ServeCommand, FullQueueSaysWhenToComeAgain) {
  Server server({"--ram", "256MiB", "--max-num-seqs", "1", "--max-queue", "1"});
  std::vector<std::jthread> clients;
  for (int i = 0; i < 2; ++i)
    clients.emplace_back([&] {
      const auto got = server.client().Post("/v1/completions", completion(400).dump(), kJson);
      EXPECT_EQ(got->status, 200);
    });
  ASSERT_TRUE(server.becomes("llamacpp:requests_deferred", 1));
  const auto got = server.client().Post("/v1/completions", completion(1).dump(), kJson);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 429);
  EXPECT_GE(std::stoi(got->get_header_value("Retry-After")), 1);
}

TEST_F(ServeCommand, ClientsThatGoAwayFreeTheirSequences) {
  Server server({"--ram", "256MiB", "--max-num-seqs", "1"});
  for (const bool stream : {false, true}) {
    const int socket = server.connect();
    const std::string body = completion(100'000, stream).dump();
    const std::string request =
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body;
    ASSERT_EQ(::send(socket, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    ASSERT_TRUE(server.becomes("llamacpp:requests_processing", 1));
    ::close(socket);
    EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 0, 5s)) << "stream: " << stream;
  }
}

TEST_F(ServeCommand, SlowReadersHoldNobodyUp) {
  const Server server({"--ram", "256MiB", "--max-num-seqs", "8"});
  std::vector<int> sockets;
  json wordy = completion(700, true);
  wordy["logprobs"] = 20;
  const std::string body = wordy.dump();
  for (int i = 0; i < 6; ++i) {
    const int socket = server.connect();
    const int small = 1024;
    ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    const std::string request =
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body;
    ASSERT_EQ(::send(socket, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    sockets.push_back(socket);
  }
  ASSERT_TRUE(server.becomes("llamacpp:requests_processing", 6));
  EXPECT_EQ(parsed(server.client().Post("/v1/completions", completion(20).dump(), kJson))
                .at("usage")
                .at("completion_tokens"),
            20);
  EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 0, 60s))
      << "what they asked for is written all the same";
  for (const int socket : sockets) ::close(socket);
  EXPECT_EQ(server.client().Get("/health")->status, 200);
}

// A game starts: the model steps aside, and what is written does not change.
TEST_F(ServeCommand, BudgetsMoveWhileItWrites) {
  const RuntimeDirectory sockets;
  const std::vector<std::string> flags = {"--ram", "200MiB", "--max-num-seqs", "2", "-c", "1024"};
  const auto text_of = [&](const std::function<void(const Server&)>& meanwhile) {
    const Server server(flags);
    std::string out;
    {
      const std::jthread client([&] {
        const auto got = server.client().Post("/v1/completions", completion(300).dump(), kJson);
        if (got && got->status == 200) out = json::parse(got->body).at("choices").at(0).at("text");
      });
      meanwhile(server);
    }
    return out;
  };
  const std::string undisturbed = text_of([](const Server&) {});
  const std::string moved = text_of([](const Server& server) {
    ASSERT_TRUE(server.becomes("llamacpp:requests_processing", 1));
    for (const char* const budget : {"140MiB", "200MiB"}) {
      const ProgramRun changed = run_strata({"ctl", "--ram", budget});
      EXPECT_EQ(changed.exit_code, 0) << changed.err;
    }
    EXPECT_NE(run_strata({"ctl", "--ram", "1MiB"}).exit_code, 0);
    EXPECT_GE(server.metric("strata_sequences_parked_total"), 1);
  });
  EXPECT_EQ(moved, undisturbed);
  EXPECT_FALSE(moved.empty());
}

TEST_F(ServeCommand, TimeIsLimited) {
  Server server({"--ram", "256MiB", "--timeout", "1"});
  const auto got = server.client().Post("/v1/completions", completion(1'000'000).dump(), kJson);
  ASSERT_TRUE(got);
  // A small context may be full before.
  if (got->status != 200) {
    EXPECT_THAT(got->body, HasSubstr("within 1 s"));
  }
  EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 0, 5s));
}

TEST_F(ServeCommand, ASignalLetsItFinishWhatItHas) {
  Server server({"--ram", "256MiB", "--max-num-seqs", "1"});
  std::vector<std::jthread> clients;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 3; ++i)
    clients.emplace_back([&] {
      const auto got = server.client().Post("/v1/completions", completion(200).dump(), kJson);
      if (got && got->status == 200) ++answered;
    });
  ASSERT_TRUE(server.becomes("llamacpp:requests_deferred", 2));
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.said();
  clients.clear();
  EXPECT_EQ(answered, 3);
}

TEST_F(ServeCommand, FiveHundredClientsAtOnce) {
  Server server({"--ram", "256MiB"});
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
  EXPECT_TRUE(server.becomes("llamacpp:requests_processing", 0, 5s));
}

TEST_F(ServeCommand, TextsBecomeVectorsOfLengthOne) {
  const Server server({"--ram", "256MiB"});
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

TEST_F(ServeCommand, ABatchIsAnsweredBehindOtherRequests) {
  const TemporaryDirectory state;
  const Server server({"--ram", "256MiB", "--state", state.path().string()});
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
  EXPECT_EQ(parsed(client.Get("/v1/batches")).at("data").at(0).at("id"), id);
  EXPECT_EQ(client.Get("/v1/batches?limit=0")->status, 400);
  EXPECT_EQ(client.Post("/v1/batches/" + id + "/cancel", "", kJson)->status, 400) << "it has ended";
  EXPECT_EQ(parsed(client.Delete("/v1/files/" + file)).at("deleted"), true);
  EXPECT_EQ(client.Get("/v1/files/" + file)->status, 404);
  EXPECT_EQ(client.Get("/v1/files/" + file + "/content")->status, 404);
}

TEST_F(ServeCommand, ABatchSaysWhatIsWrongWithItsLines) {
  const TemporaryDirectory state;
  const Server server({"--ram", "256MiB", "--state", state.path().string()});
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

TEST_F(ServeCommand, WhatABatchHasComputedIsKeptWhenItIsCancelled) {
  const TemporaryDirectory state;
  const Server server({"--ram", "256MiB", "--state", state.path().string(), "--max-num-seqs", "2"});
  const std::string id = start_batch(server, upload(server, batch_lines(200, 60))).at("id");
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
  EXPECT_EQ(written.size() + failed.size(), 200U) << "each is in one of them";
  for (const auto& [request, code] : failed) EXPECT_EQ(code, "batch_cancelled") << request;
}

TEST_F(ServeCommand, ABatchThatWaitsEndsAtOnceWhenItIsCancelled) {
  const TemporaryDirectory state;
  const Server server({"--ram", "256MiB", "--state", state.path().string(), "--max-num-seqs", "2"});
  const std::string file = upload(server, batch_lines(300, 60));
  const std::string first = start_batch(server, file).at("id");
  const std::string second = start_batch(server, file).at("id");
  wait_for_batch(server, first, [](const json& batch) { return batch.at("status") == "in_progress"; });
  parsed(server.client().Post("/v1/batches/" + second + "/cancel", "", kJson));
  EXPECT_EQ(end_of_batch(server, second).at("status"), "cancelled");
  EXPECT_EQ(parsed(server.client().Get("/v1/batches/" + first)).at("status"), "in_progress");
}

TEST_F(ServeCommand, ABatchWhoseAccountIsGoneBeginsAnew) {
  const TemporaryDirectory state;
  const std::vector<std::string> flags = {"--ram", "256MiB", "--state", state.path().string()};
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

TEST_F(ServeCommand, BatchesOutliveServersThatAreKilled) {
  const TemporaryDirectory state;
  const std::vector<std::string> flags = {"--ram", "256MiB", "--state", state.path().string()};
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
    expect_refused(run_strata(another), "another server");
    server.signal(SIGKILL);
    server.wait();
  }
  for (const int signal : {SIGKILL, SIGTERM}) {
    Server server(flags);
    std::this_thread::sleep_for(300ms);
    server.signal(signal);
    server.wait();
  }
  const Server server(flags);
  const json end = end_of_batch(server, id);
  EXPECT_EQ(end.at("status"), "completed");
  EXPECT_EQ(outcomes(server, end, "output_file_id"), expected) << "as if nothing had been";
  std::size_t left = 0;
  for (const auto& file : std::filesystem::directory_iterator(state.path() / "files"))
    left += file.path().has_extension() ? 1 : 0;
  EXPECT_EQ(left, 0U) << "no account is left";
}

/// What became of each request of a batch.
std::map<std::string, std::string> all_outcomes(const Server& server, const json& batch) {
  auto out = outcomes(server, batch, "output_file_id");
  for (const auto& [request, what] : outcomes(server, batch, "error_file_id"))
    EXPECT_TRUE(out.emplace(request, "error: " + what).second) << request;
  return out;
}

// As with strata batch: before each call that changes the folder, the process ends, the call fails, the disk
// is full. By default some of these places; STRATA_TEST_KILLS: all.
TEST_F(ServeCommand, InterferedWithAtAnyCallABatchIsAnsweredOnce) {
  json too_long = json::parse(batch_lines(1, 2));
  too_long["custom_id"] = "too long";
  too_long["body"]["prompt"] = std::string(20'000, 'x');
  const std::string lines = batch_lines(3, 2) + too_long.dump() + "\n";
  const auto flags = [](const TemporaryDirectory& state) {
    return std::vector<std::string>{"--ram", "256MiB", "-c", "1024", "--state", state.path().string()};
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
  const bool all = std::getenv("STRATA_TEST_KILLS") != nullptr;
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
      if (batch.empty()) continue;  // nothing was promised
      const Server server(flags(state));
      const json end = end_of_batch(server, batch);
      EXPECT_EQ(end.at("status"), "completed") << end;
      EXPECT_EQ(all_outcomes(server, end), expected);
    }
  }
}

TEST_F(ServeCommand, BudgetsMoveOverHttp) {
  const RuntimeDirectory sockets;
  const Server server({"--ram", "200MiB", "--max-num-seqs", "2", "-c", "1024"});
  auto client = server.client();
  const json changed = parsed(client.Post("/strata/budgets", R"({"ram":"140MiB"})", kJson));
  EXPECT_EQ(changed.at("tiers").at(0).at("budget_bytes"), 140 << 20);
  EXPECT_EQ(parsed(client.Get("/strata/status")).at("tiers").at(0).at("budget_bytes"), 140 << 20);
  EXPECT_EQ(client.Post("/strata/budgets", R"({"ram":"1MiB"})", kJson)->status, 409);
  EXPECT_EQ(client.Post("/strata/budgets", R"({"ram":true})", kJson)->status, 400);
  EXPECT_EQ(client.Post("/strata/budgets", "{}", kJson)->status, 400);
  EXPECT_EQ(client.Post("/v1/completions", completion(5).dump(), kJson)->status, 200) << "it goes on";
}

}  // namespace
}  // namespace strata::tests

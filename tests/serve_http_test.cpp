// `brimful serve` as a network program: with rude clients and web pages of other origins, and with its
// limits.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "program_run.h"
#include "raw_client.h"
#include "runtime_directory.h"
#include "served_program.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

using Server = ServedProgram;

class ServedHttp : public NeedsStories {
 protected:
  [[nodiscard]] static mode_t mode(const fs::path& path) {
    struct stat facts {};
    EXPECT_EQ(::lstat(path.c_str(), &facts), 0) << path;
    return facts.st_mode & 07777;
  }
  [[nodiscard]] static std::int64_t resident_bytes(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/statm");
    std::int64_t all = 0;
    std::int64_t resident = 0;
    in >> all >> resident;
    return resident * ::sysconf(_SC_PAGESIZE);
  }
};

TEST_F(ServedHttp, AThousandClientsThatIdleOrDripKeepNobodyWaiting) {
  const Server server({"--ram", kAmpleRam});
  auto client = server.client();
  EXPECT_EQ(client.Post("/v1/completions", completion(4).dump(), kJson)->status, 200);
  const std::int64_t before = resident_bytes(server.pid());
  const std::string head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n";
  std::vector<RawClient> slow;
  for (int i = 0; i < 1000; ++i) {
    slow.emplace_back(server.port());
    if (i % 4 == 1) slow.back().send("GET /hea");
    if (i % 4 == 2)
      slow.back().send(head + "X: " + std::string(8000, 'x') + "\r\nY: " + std::string(8000, 'y'));
    if (i % 4 == 3)
      slow.back().send(head + "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{");
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(server.client().Get("/health")->status, 200);
  EXPECT_EQ(client.Get("/health")->status, 200);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kSanitized ? 10s : 1s);
  EXPECT_EQ(server.client().Post("/v1/completions", completion(4).dump(), kJson)->status, 200);
  const auto grown = resident_bytes(server.pid()) - before;
  RecordProperty("bytes_for_each_connection", static_cast<int>(grown / 1000));
  std::cout << "bytes for each connection: " << grown / 1000 << "\n";
  if (!kSanitized) {
    EXPECT_LT(grown, 1000 * 20 * 1024) << "what the budget reserves for connections";
  }
  slow[1].send("lth HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(slow[1].read_answer(), HasSubstr("200 OK")) << "slow clients are answered, too";
  EXPECT_LT(std::distance(fs::directory_iterator("/proc/" + std::to_string(server.pid()) + "/task"),
                          fs::directory_iterator()),
            30)
      << "no thread for a connection";
}

TEST_F(ServedHttp, PagesOfOtherOriginsCannotUseIt) {
  const TemporaryDirectory state;
  const Server server(
      {"--ram", kAmpleRam, "--state", state.path() / "state", "--cors-origin", "http://page.example"});
  const std::string host = "localhost:" + std::to_string(server.port());
  const auto ask = [&](const std::string& line, const std::string& fields, const std::string& body = "") {
    RawClient one(server.port());
    one.send(line + " HTTP/1.1\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
             "\r\n" + fields + "\r\n" + body);
    return one.read_all();
  };
  const std::string own = "Host: " + host + "\r\n";
  const std::string json_type = "Content-Type: application/json\r\n";
  const std::string budgets = R"({"ram":"1MiB"})";
  EXPECT_THAT(ask("POST /brimful/budgets",
                  own + "Content-Type: text/plain\r\nOrigin: http://evil.example\r\n", budgets),
              HasSubstr(" 403 "));
  EXPECT_THAT(ask("POST /brimful/budgets", own + json_type + "Origin: http://evil.example\r\n", budgets),
              HasSubstr(" 403 "));
  EXPECT_THAT(ask("POST /brimful/budgets", own + "Content-Type: text/plain\r\n", budgets),
              testing::AllOf(HasSubstr(" 415 "), HasSubstr("Content-Type: application/json")));
  EXPECT_THAT(ask("GET /brimful/status", "Host: evil.example\r\n"),
              testing::AllOf(HasSubstr(" 403 "), HasSubstr("evil.example"), Not(HasSubstr("budget_bytes"))));
  EXPECT_THAT(ask("POST /v1/files", own + "Origin: null\r\nContent-Type: multipart/form-data; boundary=b\r\n",
                  "--b\r\nContent-Disposition: form-data; name=purpose\r\n\r\nbatch\r\n--b--"),
              HasSubstr(" 403 "));
  EXPECT_THAT(ask("OPTIONS /v1/completions",
                  own + "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n"),
              testing::AllOf(HasSubstr(" 403 "), Not(HasSubstr("Access-Control"))));
  EXPECT_THAT(ask("OPTIONS /v1/completions",
                  own + "Origin: http://page.example\r\nAccess-Control-Request-Method: POST\r\n"
                        "Access-Control-Request-Headers: content-type\r\n"),
              testing::AllOf(HasSubstr(" 204 "), HasSubstr("Access-Control-Allow-Headers: content-type")));
  EXPECT_THAT(
      ask("POST /v1/completions", own + json_type + "Origin: http://page.example\r\n", completion(2).dump()),
      testing::AllOf(HasSubstr(" 200 "), HasSubstr("Access-Control-Allow-Origin: http://page.example"),
                     HasSubstr("Vary: Origin")));
  EXPECT_THAT(
      ask("POST /v1/completions", own + json_type + "Origin: http://" + host + "\r\n", completion(2).dump()),
      HasSubstr(" 200 "));
}

TEST_F(ServedHttp, WhatItKeepsIsClosedToOthers) {
  const TemporaryDirectory root;
  const fs::path state = root.path() / "a" / "state";
  const mode_t mask = ::umask(0);
  {
    const Server server({"--ram", kAmpleRam, "--state", state});
    ::umask(mask);
    const json file = parsed(server.client().Post(
        "/v1/files",
        httplib::UploadFormDataItems{{"purpose", "batch", "", ""}, {"file", "{}\n", "in.jsonl", ""}}));
    EXPECT_EQ(mode(state), 0700U);
    EXPECT_EQ(mode(state / "files"), 0700U);
    EXPECT_EQ(mode(state / "archive.sqlite"), 0600U);
    EXPECT_EQ(mode(state / "archive.sqlite-wal"), 0600U);
    EXPECT_EQ(mode(state / "files" / file.at("id").get<std::string>()), 0600U);
  }
  fs::create_directory_symlink(state, root.path() / "link");
  fs::create_directory(root.path() / "shared");
  ::chmod((root.path() / "shared").c_str(), 0777);
  const auto refused = [&](const char* name, const char* why) {
    expect_refused(
        run_brimful({"serve", stories15m().string(), "--port", "0", "--state", root.path() / name}), why);
  };
  refused("link", "symbolic link");
  refused("shared", "other users can write");
}

TEST_F(ServedHttp, EmptyKeysAreRefusedAtTheStart) {
  const TemporaryDirectory root;
  const std::string file = root.path() / "keys";
  std::ofstream(file) << "\n  \n";
  const auto refused = [](std::vector<std::string> more, const char* why) {
    std::vector<std::string> arguments = {"serve", stories15m().string(), "--port", "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_refused(run_brimful(arguments), why);
  };
  refused({"--api-key", ""}, "--api-key");
  refused({"--api-key", "good", "--api-key", ""}, "--api-key");
  refused({"--api-key-file", file}, "no key");
  refused({"--cors-origin", "example.org"}, "--cors-origin");
  ::setenv("BRIMFUL_API_KEY", "", 1);
  refused({}, "BRIMFUL_API_KEY");
  ::unsetenv("BRIMFUL_API_KEY");
}

}  // namespace
}  // namespace brimful::tests

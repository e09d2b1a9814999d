#include "serve/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "raw_client.h"
#include "serve/http_routes.h"

namespace brimful::serve {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using tests::RawClient;
using namespace std::chrono_literals;

/// A source whose body the test makes piece by piece.
class Tap final : public HttpSource {
 public:
  void watch(std::function<void()> wake) override {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
  }
  Part next() override {
    const std::lock_guard lock(mutex_);
    return {.bytes = std::exchange(bytes_, {}), .ends = ends_, .patience = 1h};
  }
  void leave() override {
    const std::lock_guard lock(mutex_);
    wake_ = {};
    if (!std::exchange(has_left_, true)) left_.set_value();
  }
  void add(const std::string& bytes, bool ends = false) {
    const std::lock_guard lock(mutex_);
    bytes_ += bytes;
    ends_ = ends;
    if (wake_) wake_();
  }
  bool client_leaves() { return left_.get_future().wait_for(60s) == std::future_status::ready; }

 private:
  std::mutex mutex_;
  std::function<void()> wake_;
  std::string bytes_;
  bool ends_ = false;
  bool has_left_ = false;
  std::promise<void> left_;
};

class Echo final : public HttpTask {
 public:
  std::optional<HttpResponse> take(std::string_view piece) override {
    text_ += piece;
    return std::nullopt;
  }
  HttpResponse answer() override { return {.body = text_}; }

 private:
  std::string text_;
};

class TestHandler final : public HttpHandler {
 public:
  TestHandler() {
    routes.add("GET", "/hello", Lane::kNow, [](const HttpRequest& request, const std::string&) {
      return HttpResponse{.body = "hello " + std::string(request.parameter("name").value_or("you"))};
    });
    routes.add("GET", "/of/{}", Lane::kReading,
               [](const HttpRequest&, const std::string& place) { return HttpResponse{.body = place}; });
    routes.add("GET", "/fails", Lane::kReading, [](const HttpRequest&, const std::string&) -> HttpResponse {
      throw std::runtime_error("it broke");
    });
    routes.add("GET", "/tap", Lane::kReading, [this](const HttpRequest&, const std::string&) {
      HttpResponse out;
      out.source = tap;
      return out;
    });
    routes.add("GET", "/waits", Lane::kControl, [this](const HttpRequest&, const std::string&) {
      waits.set_value();
      go_on.get_future().wait();
      return HttpResponse{.body = "at last"};
    });
    routes.add("POST", "/echo", [](const HttpRequest&, const std::string&) {
      HttpPlan out;
      out.task = std::make_unique<Echo>();
      out.largest_body = 100'000;
      return out;
    });
  }
  std::variant<HttpResponse, HttpPlan> begin(const HttpRequest& request) override {
    ++requests;
    const auto found = routes.find(request);
    if (found.make != nullptr) return (*found.make)(request, found.place);
    return refusal(found.allowed.empty() ? 404 : 405, found.allowed);
  }
  HttpResponse refusal(int status, const std::string& why) override {
    return {.status = status, .body = why};
  }
  void add_fields(const HttpRequest&, HttpResponse&) override {}

  HttpRoutes routes;
  std::shared_ptr<Tap> tap = std::make_shared<Tap>();
  std::promise<void> waits;
  std::promise<void> go_on;
  std::atomic<int> requests = 0;
};

class HttpServerTest : public testing::Test {
 protected:
  void start(HttpLimits limits = {}) {
    auto listener = Listener::bind("127.0.0.1", 0);
    ASSERT_TRUE(listener) << listener.error().message;
    port_ = listener->port();
    server_.emplace(std::move(*listener), limits, handler_);
  }
  [[nodiscard]] RawClient client(std::string_view first = "") const {
    RawClient out(port_);
    out.send(first);
    return out;
  }
  [[nodiscard]] std::string answer_to(std::string_view request) const {
    return client(request).read_answer();
  }

  TestHandler handler_;
  int port_ = 0;
  std::optional<HttpServer> server_;
};

const std::string kHello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInTheirOrder) {
  start();
  auto one = client(
      "GET /hello?name=a HTTP/1.1\r\nHost: x\r\n\r\n"
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
      "GET /of/%62%20c HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(one.read_answer(), HasSubstr("hello a"));
  EXPECT_THAT(one.read_answer(), HasSubstr("\r\n\r\nabc"));
  EXPECT_THAT(one.read_answer(), HasSubstr("\r\n\r\nb c"));
}

TEST_F(HttpServerTest, BodiesComeWholeInPiecesAndInChunks) {
  start();
  auto slow = client("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
  slow.send("def");
  EXPECT_THAT(slow.read_answer(), HasSubstr("\r\n\r\nabcdef"));
  std::string chunks = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 3000; ++i) chunks += "2;x=y\r\nab\r\n";
  auto chunked = client(chunks + "0\r\nTrailer: x\r\n\r\n" + kHello);
  EXPECT_THAT(chunked.read_answer(), HasSubstr("Content-Length: 6000"));
  EXPECT_THAT(chunked.read_answer(), HasSubstr("hello you")) << "the next request begins where the body ends";
  EXPECT_THAT(answer_to("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
              StartsWith("HTTP/1.1 200"));
}

// Each of these is followed by a body that looks like a request. Nobody may read it as one.
TEST_F(HttpServerTest, AmbiguousRequestsEndTheConnection) {
  start();
  std::string many;
  for (int i = 0; i < 101; ++i) many += "X-" + std::to_string(i) + ": 1\r\n";
  const auto post = [](const std::string& fields, const std::string& body = "") {
    return "POST /echo HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n" + body;
  };
  const std::string zero("\0", 1);
  const std::pair<std::string, int> cases[] = {
      {post(many), 431},
      {post("X: " + std::string(9000, 'x') + "\r\n"), 431},
      {"GET /" + std::string(9000, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
      {post("X: " + std::string(8000, 'x') + "\r\nY: " + std::string(8000, 'y') +
            "\r\nZ: " + std::string(8000, 'z') + "\r\n"),
       431},
      {"BREW /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n", 501},
      {"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505},
      {"GET / HTTP/2\r\n\r\n", 505},
      {"nonsense\r\n\r\n", 400},
      {post("Content-Length: +50\r\n"), 400},
      {post("Content-Length: -5\r\n"), 400},
      {post("Content-Length: 0x5\r\n"), 400},
      {post("Content-Length: 5, 5\r\n"), 400},
      {post("Content-Length: 99999999999999999999999\r\n"), 400},
      {post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
      {post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
      {post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
      {post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400},
      {post("Transfer-Encoding: gzip\r\n"), 501},
      {post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501},
      {post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
      {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {post("Transfer-Encoding: chunked\r\n", "zz\r\n"), 400},
      {post("Transfer-Encoding: chunked\r\n", "-1\r\n"), 400},
      {post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"), 400},
      {post("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n"), 400},
      {post("Transfer-Encoding: chunked\r\n", "3\nabc\n0\n\n"), 400},
      {post("Transfer-Encoding: chunked\r\n", std::string(20'000, '0')), 400},
      {post("Content-Length : 5\r\n"), 400},
      {post("X: a\r\n folded\r\n"), 400},
      {post("\tfolded: a\r\n"), 400},
      {post("X: a" + zero + "\r\n"), 400},
      {post("X: a\rY: b\r\n"), 400},
      {post(": nameless\r\n"), 400},
      {"GET /hello HTTP/1.1\nHost: x\n\n", 400},
      {"GET /hello HTTP/1.1\r\nHost: x\n\r\n", 400},
      {"GET /hello\t HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET hello HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01", 8), 400},  // The beginning of a TLS connection.
      {post("Content-Length: 200000\r\n"), 413},
      {post("Transfer-Encoding: chunked\r\n", "fffff\r\n" + std::string(150'000, 'x')), 413},
      {post("Expect: miracles\r\nContent-Length: 5\r\n"), 417},
  };
  for (const auto& [request, status] : cases) {
    auto one = client(std::string(request).append(kHello).append(kHello));
    const int before = handler_.requests;
    const std::string all = one.read_all();
    EXPECT_THAT(all, StartsWith("HTTP/1.1 " + std::to_string(status) + " ")) << request.substr(0, 300);
    EXPECT_THAT(all, HasSubstr("Connection: close\r\n")) << request.substr(0, 300);
    EXPECT_THAT(all, Not(HasSubstr("hello you"))) << request.substr(0, 300);
    EXPECT_LE(handler_.requests, before + 1);
  }
  EXPECT_THAT(answer_to(kHello), HasSubstr("hello you"));
}

TEST_F(HttpServerTest, AnswersAsOldAndUnusualClientsNeedIt) {
  start();
  handler_.tap->add("one", true);
  const std::string old = client("GET /tap HTTP/1.0\r\n\r\n").read_all();
  EXPECT_THAT(old, testing::EndsWith("\r\n\r\none")) << "no chunks: the end of the connection ends the body";
  EXPECT_THAT(client("GET /hello HTTP/1.0\r\n\r\n").read_all(), HasSubstr("Connection: close"));
  auto kept = client("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(kept.read_answer(), HasSubstr("Connection: keep-alive"));
  EXPECT_THAT(client("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").read_all(),
              HasSubstr("hello you"));
  auto head = client("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n" + kHello);
  EXPECT_THAT(head.read_answer(false), HasSubstr("Content-Length: 9\r\n"));
  EXPECT_THAT(head.read_answer(), HasSubstr("hello you"));
  auto expects =
      client("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_THAT(expects.read_answer(), StartsWith("HTTP/1.1 100"));
  expects.send("ab");
  EXPECT_THAT(expects.read_answer(), HasSubstr("\r\n\r\nab"));
  EXPECT_THAT(answer_to("\r\n\r\nGET /hello/ HTTP/1.1\r\nHost: x\r\n\r\n"), HasSubstr("hello you"));
  EXPECT_THAT(answer_to("GET http://y/hello?name=a+b%21&c HTTP/1.1\r\nHost: x\r\n\r\n"),
              HasSubstr("hello a b!"));
  EXPECT_THAT(answer_to("POST /hello HTTP/1.1\r\nHost: x\r\n\r\n"), HasSubstr("GET, HEAD, OPTIONS"));
  EXPECT_THAT(answer_to("GET /fails HTTP/1.1\r\nHost: x\r\n\r\n"),
              testing::AllOf(HasSubstr(" 500 "), HasSubstr("it broke")));
  auto half = client("GET /of/a HTTP/1.1\r\nHost: x\r\n\r\n");
  half.end_sending();
  EXPECT_THAT(half.read_all(), testing::EndsWith("\r\n\r\na"));
}

TEST_F(HttpServerTest, StreamsComeAsTheyAreMadeAndEndWithTheClient) {
  start();
  auto reader = client("GET /tap HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.tap->add("first ");
  EXPECT_TRUE(reader.wait_for("6\r\nfirst \r\n"));
  handler_.tap->add("second", true);
  EXPECT_TRUE(reader.wait_for("6\r\nsecond\r\n0\r\n\r\n"));
  EXPECT_TRUE(handler_.tap->client_leaves());
  for (const bool pipelines : {false, true}) {
    handler_.tap = std::make_shared<Tap>();
    auto leaver = client("GET /tap HTTP/1.1\r\nHost: x\r\n\r\n" + (pipelines ? kHello : ""));
    handler_.tap->add("a");
    EXPECT_TRUE(leaver.wait_for("1\r\na\r\n"));
    leaver.close();
    EXPECT_TRUE(handler_.tap->client_leaves());
  }
}

TEST_F(HttpServerTest, ManySlowClientsKeepNobodyWaiting) {
  start({.for_head = 60s, .between = 60s});
  std::vector<RawClient> slow;
  for (int i = 0; i < 250; ++i) {
    slow.push_back(client("GET /hello HTTP/1.1\r\nHo"));
    slow.push_back(client("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nab"));
    slow.push_back(client(kHello));
    slow.push_back(client());
  }
  EXPECT_THAT(answer_to(kHello), HasSubstr("hello you"));
  slow.front().send("st: x\r\n\r\n");
  EXPECT_THAT(slow.front().read_answer(), HasSubstr("hello you")) << "slow clients are served, too";
}

TEST_F(HttpServerTest, TheOldestHalfSentRequestMakesRoom) {
  start({.most_connections = 3});
  auto idle = client(kHello);
  EXPECT_THAT(idle.read_answer(), HasSubstr("hello you"));
  auto oldest = client("GET /hel");
  auto reader = client("GET /tap HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.tap->add("a");
  EXPECT_TRUE(reader.wait_for("1\r\na\r\n"));
  auto next = client(kHello);
  EXPECT_THAT(next.read_answer(), HasSubstr("hello you"));
  EXPECT_TRUE(oldest.is_ended());
  auto last = client(kHello);
  EXPECT_THAT(last.read_answer(), HasSubstr("hello you"));
  EXPECT_TRUE(idle.is_ended()) << "then the one that has been idle longest";
  handler_.tap->add("b", true);
  EXPECT_TRUE(reader.wait_for("1\r\nb\r\n")) << "nobody who waits for an answer";
}

TEST_F(HttpServerTest, ARequestThatComesTooSlowlyGetsStatus408) {
  start({.for_head = 100ms, .between = 100ms, .for_silence = 100ms});
  EXPECT_THAT(client("GET /hel").read_all(), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(client("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab").read_all(),
              StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(client().is_ended());
  auto idle = client(kHello);
  EXPECT_THAT(idle.read_answer(), HasSubstr("hello you"));
  EXPECT_TRUE(idle.is_ended());
}

// A client that sends each byte just in time is still too slow.
TEST_F(HttpServerTest, TheWholeHeadAndTheWholeBodyHaveALimit) {
  start({.for_head = 300ms, .for_silence = 300ms, .slowest_body = 1'000'000});
  for (const char* const begin :
       {"GET /", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n"}) {
    auto drip = client(begin);
    std::atomic<bool> done = false;
    std::thread drips([&] {
      while (!done && drip.send("a")) std::this_thread::sleep_for(10ms);
    });
    EXPECT_THAT(drip.read_all(), StartsWith("HTTP/1.1 408 "));
    done = true;
    drips.join();
  }
}

TEST_F(HttpServerTest, AClientThatDoesNotReadIsDisconnected) {
  start({.for_writing = 200ms});
  auto lazy = client("GET /tap HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.tap->add(std::string(64 << 20, 'x'));
  EXPECT_TRUE(handler_.tap->client_leaves());
}

TEST_F(HttpServerTest, AtShutdownAnswersAreFinished) {
  start();
  auto idle = client(kHello);
  EXPECT_THAT(idle.read_answer(), HasSubstr("hello you"));
  auto half = client("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  auto reader = client("GET /tap HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.tap->add("a");
  EXPECT_TRUE(reader.wait_for("1\r\na\r\n"));
  auto waiter = client("GET /waits HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.waits.get_future().wait();
  std::thread stopper([&] { server_->stop(60s); });
  EXPECT_TRUE(idle.is_ended());
  EXPECT_TRUE(half.is_ended());
  handler_.tap->add("b", true);
  EXPECT_THAT(reader.read_all(), testing::EndsWith("1\r\nb\r\n0\r\n\r\n"));
  handler_.go_on.set_value();
  EXPECT_THAT(waiter.read_all(), testing::AllOf(HasSubstr("Connection: close"), HasSubstr("at last")));
  stopper.join();
}

TEST_F(HttpServerTest, AtShutdownWaitingForClientsHasALimit) {
  start();
  auto reader = client("GET /tap HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.tap->add("a");
  EXPECT_TRUE(reader.wait_for("1\r\na\r\n"));
  server_->stop(50ms);
  EXPECT_TRUE(handler_.tap->client_leaves());
  EXPECT_EQ(reader.read_all().find("0\r\n\r\n"), std::string::npos) << "the client sees that it is cut off";
}

TEST(ListenerTest, AnAddressIsOneServers) {
  const auto first = Listener::bind("localhost", 0);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = Listener::bind("127.0.0.1", first->port());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("another program has this port"));
  EXPECT_THAT(Listener::bind("192.0.2.1", 0).error().message, HasSubstr("this machine has no such address"));
  EXPECT_THAT(Listener::bind("no such host", 0).error().message, HasSubstr("--host"));
  EXPECT_FALSE(Listener::bind("", 0));
}

TEST(ListenerTest, APortWithoutTheRightIsNoOtherPrograms) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give the right away";
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    const auto listener = Listener::bind("127.0.0.1", 81);
    if (listener) ::_exit(3);
    ::_exit(listener.error().message.contains("ports below 1024 need the capability") ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 3) GTEST_SKIP() << "everybody may use every port on this machine";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ListenerTest, ItsAddressIsOneThatABrowserTakes) {
  EXPECT_THAT(Listener::bind("127.0.0.1", 0)->url(), StartsWith("http://127.0.0.1:"));
  const auto six = Listener::bind("::1", 0);
  if (!six) GTEST_SKIP() << "this machine has no IPv6";
  EXPECT_THAT(six->url(), StartsWith("http://[::1]:"));
  EXPECT_TRUE(Listener::bind("[::1]", 0));
}

}  // namespace
}  // namespace brimful::serve

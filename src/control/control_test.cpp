#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <future>

#include "control/client.h"
#include "control/server.h"
#include "control/socket_folder.h"
#include "runtime_directory.h"

namespace brimful::control {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::chrono::milliseconds kLimit{5000};

class Control : public testing::Test {
 protected:
  [[nodiscard]] fs::path folder() const { return runtime_ / "brimful"; }

  const tests::RuntimeDirectory directory_;
  const fs::path runtime_ = directory_.path();
};

bool wakes(const Server& server) {
  pollfd waiting{server.wake_descriptor(), POLLIN, 0};
  return ::poll(&waiting, 1, static_cast<int>(kLimit.count())) == 1;
}

TEST_F(Control, AnswersWithTheNewestStatus) {
  const auto server = Server::start();
  ASSERT_TRUE(server) << server.error().message;
  (*server)->publish({{"state", "loading"}});
  (*server)->publish({{"state", "writing"}, {"model", "\xff.gguf"}});  // The name is not UTF-8.
  const auto answer = ask(::getpid(), {{"ask", "status"}}, kLimit);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ((*answer)["state"], "writing");
  EXPECT_FALSE((*server)->take()) << "nobody but the server was asked";
}

TEST_F(Control, HandsRequestsOnInTheirOrder) {
  const auto server = Server::start();
  ASSERT_TRUE(server) << server.error().message;
  const auto change = [](int ram) { return ask(::getpid(), {{"ask", "budgets"}, {"ram", ram}}, kLimit); };
  auto first = std::async(std::launch::async, change, 1);
  ASSERT_TRUE(wakes(**server));
  auto one = (*server)->take();
  ASSERT_TRUE(one);
  EXPECT_EQ(one->content()["ram"], 1);
  EXPECT_FALSE((*server)->take());
  auto second = std::async(std::launch::async, change, 2);
  ASSERT_TRUE(wakes(**server));
  auto two = (*server)->take();
  ASSERT_TRUE(two);
  one->answer({{"seconds", 0.5}});
  two->answer({{"error", "too small"}, {"code", "infeasible"}});
  const auto done = first.get();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ((*done)["seconds"], 0.5);
  const auto refused = second.get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInfeasible);
  EXPECT_EQ(refused.error().message, "too small");
}

TEST_F(Control, RefusesWhatIsNoRequest) {
  const auto server = Server::start();
  ASSERT_TRUE(server) << server.error().message;
  for (const json& request : {json::array(), json::object(), json{{"ask", 7}}}) {
    const auto answer = ask(::getpid(), request, kLimit);
    ASSERT_FALSE(answer) << request;
    EXPECT_THAT(answer.error().message, HasSubstr("not a request"));
  }
  EXPECT_FALSE((*server)->take());
}

TEST_F(Control, SurvivesClientsThatSendNothingOrTooMuch) {
  const auto server = Server::start();
  ASSERT_TRUE(server) << server.error().message;
  sockaddr_un address{};
  ASSERT_TRUE(fill_address(socket_path(folder(), ::getpid()), address));
  for (const std::string& text : {std::string(), std::string(2 * kLongestRequest, 'x'), std::string("{\n")}) {
    const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    (void)::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  EXPECT_TRUE(ask(::getpid(), {{"ask", "status"}}, kLimit));
}

TEST_F(Control, RemovesTheSocketAtTheEnd) {
  {
    const auto server = Server::start();
    ASSERT_TRUE(server) << server.error().message;
    EXPECT_THAT(*running(), ElementsAre(::getpid()));
  }
  EXPECT_THAT(*running(), IsEmpty());
  const auto answer = ask(::getpid(), {{"ask", "status"}}, kLimit);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kNotFound);
}

TEST_F(Control, RemovesTheSocketsOfProcessesThatWereKilled) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto server = Server::start();
    ::_exit(server ? 0 : 1);  // The process ends like after kill -9, without cleaning up.
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(fs::exists(socket_path(folder(), child)));
  EXPECT_THAT(*running(), IsEmpty());
  EXPECT_FALSE(fs::exists(socket_path(folder(), child)));
}

TEST_F(Control, DoesNotWaitForAProcessThatIsStopped) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto server = Server::start();
    ::raise(SIGSTOP);
    ::_exit(server ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  for (int i = 0; i < 20; ++i) {  // More requests than the socket's queue holds.
    const auto answer = ask(child, {{"ask", "status"}}, std::chrono::milliseconds(20));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kIo);
    EXPECT_THAT(answer.error().message, HasSubstr("is it stopped?"));
    if (answer.error().message.contains("accepts no requests")) break;
    EXPECT_LT(i, 19) << "the queue has an end";
  }
  EXPECT_THAT(*running(), ElementsAre(child));
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
}

TEST_F(Control, UnansweredRequestsAreNotLeftWaiting) {
  auto server = Server::start();
  ASSERT_TRUE(server) << server.error().message;
  auto asked = std::async(std::launch::async, [] {
    return ask(::getpid(), {{"ask", "budgets"}}, std::chrono::minutes(5));
  });
  ASSERT_TRUE(wakes(**server));
  server->reset();  // The model's process ends.
  const auto answer = asked.get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kIo);
  EXPECT_THAT(answer.error().message, HasSubstr("ended before"));
}

TEST_F(Control, EntersNoFolderThatIsOpenToOthers) {
  ASSERT_EQ(::mkdir(folder().c_str(), 0700), 0);
  ASSERT_EQ(::chmod(folder().c_str(), 0750), 0);
  const auto server = Server::start();
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(server.error().message, HasSubstr("only this user"));
}

TEST_F(Control, FollowsNoLinkToAFolder) {
  fs::create_directory(runtime_ / "elsewhere");
  ASSERT_EQ(::chmod((runtime_ / "elsewhere").c_str(), 0700), 0);
  fs::create_directory_symlink(runtime_ / "elsewhere", folder());
  EXPECT_FALSE(Server::start());
}

TEST_F(Control, RefusesASocketPathThatIsTooLong) {
  const fs::path deep = runtime_ / std::string(100, 'd');
  fs::create_directory(deep);
  ::setenv("XDG_RUNTIME_DIR", deep.c_str(), 1);
  const auto server = Server::start();
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message, HasSubstr("too long for the path of a socket"));
}

}  // namespace
}  // namespace brimful::control

// What lies between the program and the hub: proxies, also with a password, and TLS with a certificate of the
// site's own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <sstream>
#include <utility>

#include "hub_cache_fixture.h"

namespace brimful::tests {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kFrontProgram = BRIMFUL_NETWORK_FRONT;

/// The program tests/network_front. The destructor ends it.
class Front {
 public:
  explicit Front(const std::string& arguments)
      : out_(::popen((std::string("exec ") + kFrontProgram + " " + arguments).c_str(), "r")) {
    std::array<char, 256> line{};
    if (out_ == nullptr || std::fgets(line.data(), line.size(), out_) == nullptr) return;
    std::istringstream(line.data()) >> word_ >> port_ >> pid_;
  }
  ~Front() { (void)end(); }
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  [[nodiscard]] int port() const { return port_; }
  /// Ends it, and returns what it has printed.
  std::string end() {
    std::string printed;
    if (out_ == nullptr) return printed;
    if (pid_ > 0) ::kill(pid_, SIGTERM);
    std::array<char, 4096> piece{};
    while (const std::size_t got = std::fread(piece.data(), 1, piece.size(), out_))
      printed.append(piece.data(), got);
    ::pclose(std::exchange(out_, nullptr));
    return printed;
  }

 private:
  FILE* out_;
  std::string word_;
  int port_ = 0;
  pid_t pid_ = 0;
};

class HubNetwork : public HubCacheFixture {
 protected:
  void SetUp() override {
    HubCacheFixture::SetUp();
    ::unsetenv("no_proxy");
    ::unsetenv("CURL_CA_BUNDLE");  // It comes before SSL_CERT_FILE.
  }

  /// Makes a certificate for 127.0.0.1, which is its own authority. Returns whether openssl could.
  [[nodiscard]] bool make_certificate(const std::string& name) const {
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test "
        "-addext subjectAltName=IP:127.0.0.1 -keyout " +
        file(name + ".key") + " -out " + file(name + ".crt") + " 2>/dev/null";
    return std::system(command.c_str()) == 0;
  }
  [[nodiscard]] std::string file(const std::string& name) const {
    return (directory_.path() / name).string();
  }

  void expect_pulled() {
    const ProgramRun pulled = run_brimful({"pull", kName});
    ASSERT_EQ(pulled.exit_code, 0) << pulled.err;
    EXPECT_TRUE(content_of(file_of(pulled)) == content_);
    EXPECT_THAT(pulled.err, Not(HasSubstr("secret")));
    std::filesystem::remove_all(cache());
  }
  static void expect_refused_without_password(const std::string& text) {
    const ProgramRun pulled = run_brimful({"pull", kName});
    expect_refused(pulled, text);
    EXPECT_THAT(pulled.err, Not(HasSubstr("secret")));
  }

  const std::string content_ = random_text(300'000);
  HubServer server_{HubServer::Files{{"m-Q4_K_M.gguf", content_}}};
};

TEST_F(HubNetwork, GoesThroughAProxyWithAPassword) {
  ::setenv("HF_ENDPOINT", "http://hub.invalid", 1);  // Only the proxy knows this name.
  const std::string proxy = "http://me:secret%21@" + server_.address().substr(7);
  for (const char* variable : {"HTTP_PROXY", "http_proxy", "ALL_PROXY"}) {
    ::setenv(variable, proxy.c_str(), 1);
    expect_pulled();
    ::unsetenv(variable);
  }
  for (const auto& request : server_.server().requests()) {
    EXPECT_THAT(request.path, HasSubstr("http://hub.invalid/"));
    EXPECT_EQ(request.proxy_authorization, "Basic bWU6c2VjcmV0IQ==");
  }
  const std::size_t requests = server_.server().requests().size();
  ::setenv("HTTP_PROXY", proxy.c_str(), 1);
  ::setenv("NO_PROXY", "hub.invalid", 1);
  expect_refused_without_password("host name cannot be resolved");
  EXPECT_EQ(server_.server().requests().size(), requests) << "NO_PROXY goes past the proxy";
}

TEST_F(HubNetwork, AProxyThatRefusesIsOneLineWithoutThePassword) {
  ::setenv("HF_ENDPOINT", "http://hub.invalid", 1);
  ::setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:1", 1);
  expect_refused_without_password("cannot connect");
  ::setenv("HTTP_PROXY", "odd://me:secret@127.0.0.1:1", 1);
  expect_refused_without_password("http://hub.invalid/api/models/org/model-GGUF/revision/main: ");
  ::setenv("HTTP_PROXY", "http://me:secret word@127.0.0.1:1", 1);
  expect_refused_without_password("http://hub.invalid/api/models/org/model-GGUF/revision/main: ");
  const ModelServer asking([](const auto&) { return ModelServer::Reply{.status = 407, .body = "login"}; });
  ::setenv("HTTP_PROXY", ("http://me:secret@" + asking.address().substr(7)).c_str(), 1);
  expect_refused_without_password("the proxy asks for a login (407)");
}

TEST_F(HubNetwork, TrustsTheCertificateThatItIsGiven) {
  if (!make_certificate("own") || !make_certificate("other"))
    GTEST_SKIP() << "openssl makes no certificate here";
  const std::string port = server_.address().substr(server_.address().rfind(':') + 1);
  Front tls("tls " + port + " " + file("own.crt") + " " + file("own.key"));
  ASSERT_NE(tls.port(), 0) << "tests/network_front needs python3";
  ::setenv("HF_ENDPOINT", ("https://127.0.0.1:" + std::to_string(tls.port())).c_str(), 1);
  expect_refused_without_password("SSL_CERT_FILE");
  ::setenv("SSL_CERT_FILE", file("other.crt").c_str(), 1);
  expect_refused_without_password("no secure connection");
  ::setenv("SSL_CERT_FILE", file("none.crt").c_str(), 1);
  expect_refused_without_password("no secure connection");
  EXPECT_TRUE(server_.server().requests().empty());
  ::setenv("SSL_CERT_FILE", file("own.crt").c_str(), 1);
  expect_pulled();

  Front proxy("proxy me:secret!");
  ASSERT_NE(proxy.port(), 0);
  const std::string at = "@127.0.0.1:" + std::to_string(proxy.port());
  ::setenv("HTTPS_PROXY", ("http://me:secret" + at).c_str(), 1);
  expect_refused_without_password("the proxy asks for a login (407)");
  ::setenv("HTTPS_PROXY", ("http://me:secret%21" + at).c_str(), 1);
  expect_pulled();
  EXPECT_THAT(proxy.end(), HasSubstr("CONNECT 127.0.0.1:" + std::to_string(tls.port())));
}

TEST_F(HubNetwork, AServerWithoutTlsIsNotSpokenToByHttps) {
  ::setenv("HF_ENDPOINT", ("https" + server_.address().substr(4)).c_str(), 1);
  expect_refused_without_password("does the server speak https?");
}

}  // namespace
}  // namespace brimful::tests

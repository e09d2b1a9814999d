#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "hub_server.h"
#include "program_run.h"
#include "temporary_directory.h"

namespace brimful::tests {

/// Runs of the program with a cache of their own, and a hub in this process.
class HubCacheFixture : public ::testing::Test {
 protected:
  static constexpr const char* kName = HubServer::kRepository;

  void SetUp() override {
    ::setenv("no_proxy", "*", 1);
    ::setenv("HF_HUB_CACHE", cache().c_str(), 1);
    ::setenv("HF_HOME", (directory_.path() / "home").c_str(), 1);
  }
  void TearDown() override {
    for (const char* name :
         {"HF_HUB_CACHE", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "LLAMA_CACHE", "SSL_CERT_FILE",
          "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy"})
      ::unsetenv(name);
    ::setenv("no_proxy", "*", 1);
  }

  [[nodiscard]] std::filesystem::path cache() const { return directory_.path() / "hub"; }
  static void use(const HubServer& server) { ::setenv("HF_ENDPOINT", server.address().c_str(), 1); }

  static std::string content_of(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// What `brimful pull` printed: the path of the file.
  static std::filesystem::path file_of(const ProgramRun& pull) {
    return pull.out.substr(0, pull.out.find('\n'));
  }

  /// The bytes of a model that runs, of about a MiB.
  [[nodiscard]] std::string small_model(const std::string& type = "Q8_0") const {
    const std::filesystem::path file = directory_.path() / "small.gguf";
    const ProgramRun made =
        run_brimful({"synth", "--like", "llama-tiny", "--type", type, "-o", file.string(), "--force"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return content_of(file);
  }

  TemporaryDirectory directory_;
};

}  // namespace brimful::tests

#pragma once

#include <brimful/session.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "program_run.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {

/// Tests of the public interface: sessions of a small model, beside `brimful run` with the same options.
class Library : public testing::Test {
 protected:
  void SetUp() override {
    model_ = stories15m();
    if (model_.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  }

  static Session start(const std::filesystem::path& file, const ContextOptions& context = {}) {
    const auto model = Model::open(file);
    if (!model) throw std::runtime_error(model.error().message);
    auto session = Session::start(*model, {.ram = kGiB}, context);
    if (!session) throw std::runtime_error(session.error().message);
    return std::move(*session);
  }
  static Completion answer(Session& session, const Prompt& prompt, const SamplingOptions& sampling) {
    auto done = session.generate(prompt, sampling);
    if (!done) throw std::runtime_error(done.error().message);
    return std::move(*done);
  }
  static void expect_refused(Session& session, const Prompt& prompt, const SamplingOptions& sampling,
                             const std::string& begin) {
    const auto done = session.generate(prompt, sampling);
    ASSERT_FALSE(done) << "not refused: " << begin;
    EXPECT_EQ(done.error().code, ErrorCode::kInvalidArgument) << done.error().message;
    EXPECT_TRUE(done.error().message.starts_with(begin)) << done.error().message;
  }
  static void expect_not_started(const std::filesystem::path& file, const ContextOptions& context,
                                 ErrorCode code, const std::string& part) {
    const auto model = Model::open(file);
    ASSERT_TRUE(model);
    const auto session = Session::start(*model, {.ram = kGiB}, context);
    ASSERT_FALSE(session) << "not refused: " << part;
    EXPECT_EQ(session.error().code, code) << session.error().message;
    EXPECT_NE(session.error().message.find(part), std::string::npos) << session.error().message;
  }
  /// The tokens that `brimful run` writes with the same options.
  [[nodiscard]] nlohmann::json tokens_of_run(const std::string& file, std::vector<std::string> more) const {
    const std::string stats = (directory_.path() / "stats.json").string();
    std::vector<std::string> all{"run", "-m",    file,   "--raw",  "-p", "Once upon a time", "-n",
                                 "24",  "--ram", "1GiB", "--temp", "0",  "--stats",          stats};
    all.insert(all.end(), more.begin(), more.end());
    const ProgramRun run = run_brimful(all);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    std::ifstream in(stats);
    return nlohmann::json::parse(in, nullptr, false)["token_ids"];
  }

  static inline const Prompt kPrompt{.text = "Once upon a time"};
  static SamplingOptions greedy(std::uint32_t tokens) {
    return {.numbers = {{"temperature", 0}}, .max_tokens = tokens};
  }

  /// kPrompt with its answer, and a little more.
  static Prompt turn_after(const Session& session, const Completion& first) {
    Prompt out{.tokens = session.tokenize(kPrompt.text).value()};
    out.tokens.insert(out.tokens.end(), first.tokens.begin(), first.tokens.end());
    const std::vector<std::int32_t> more = session.tokenize(" The", false).value();
    out.tokens.insert(out.tokens.end(), more.begin(), more.end());
    return out;
  }

  TemporaryDirectory directory_;
  std::filesystem::path model_;
};

}  // namespace brimful::tests

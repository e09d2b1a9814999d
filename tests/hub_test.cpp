// Headers of remote models are fetched from a server in this process. The tests check what is requested,
// which server gets the token, and what is reported when it fails.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "hub/model_source.h"
#include "hub/remote_header.h"
#include "hub/repository.h"
#include "model/gguf_test_file.h"
#include "model/model_profile.h"
#include "model_server.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;
using model::Weights;
using model::testing::small_model;
using model::testing::TestFile;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Reply = ModelServer::Reply;
using Request = ModelServer::Request;

constexpr std::size_t kLongText = 3'000'000;  // This makes the header larger than the first request.
constexpr std::uint64_t kMost = 8'000'000;    // The most bytes that may be fetched of such a header.

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Replies with the whole file: its header, and zeros in place of the weights.
Reply reply_of(const TestFile& file) {
  Reply reply{.body = text_of(file.header())};
  const auto parsed = model::parse_gguf(std::as_bytes(std::span(reply.body)), INT64_MAX);
  reply.size = std::get<model::GgufHeader>(parsed.value()).end();
  return reply;
}

TestFile large_model() {
  TestFile file = small_model();
  file.text("tokenizer.chat_template", std::string(kLongText, 'x'));
  file.tensor("output.weight", {1 << 20, 1 << 14});  // 64 GiB
  return file;
}

class HubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("no_proxy", "*", 1);
    settings_.token = "hf_secret";
    settings_.stall_limit = std::chrono::seconds(1);
    settings_.connect_limit = std::chrono::seconds(2);
  }

  Result<std::vector<fs::path>> fetch(const std::string& url) {
    BRIMFUL_TRY(hub::Http http, hub::Http::open(settings_));
    return hub::fetch_headers(http, url, directory_.path());
  }

  std::string refused(const std::string& url) {
    const auto files = fetch(url);
    if (files) return "accepted";
    EXPECT_THAT(files.error().message, StartsWith(url.substr(0, url.find('?')) + ": "));
    EXPECT_EQ(files.error().message.find('\n'), std::string::npos);
    EXPECT_THAT(files.error().message, Not(HasSubstr(settings_.token)));
    EXPECT_TRUE(fs::is_empty(directory_.path()));
    return files.error().message;
  }

  hub::Settings settings_;
  TemporaryDirectory directory_;
};

TEST_F(HubTest, FetchesTheHeaderAndNothingOfTheWeights) {
  const Reply file = reply_of(large_model());
  const ModelServer server([&](const Request&) { return file; });
  const auto files = fetch(server.address() + "/a/model-Q4_K_M.gguf?download=true");
  ASSERT_TRUE(files) << files.error().message;
  ASSERT_EQ(files->size(), 1U);
  EXPECT_EQ(files->front(), directory_.path() / "model-Q4_K_M.gguf");
  EXPECT_EQ(fs::file_size(files->front()), align_up(file.body.size(), 32));

  const auto profile = model::read_model(files->front(), Weights::kMayBeMissing);
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_TRUE(profile->weights_missing);
  EXPECT_EQ(profile->find("output.weight")->bytes, kGiB * 64);
  EXPECT_EQ(profile->chat_template.size(), kLongText);

  EXPECT_LE(server.requests().size(), 3U);
  for (const Request& request : server.requests()) {
    EXPECT_EQ(request.path, "/a/model-Q4_K_M.gguf?download=true");
    EXPECT_THAT(request.range, StartsWith("bytes="));
    EXPECT_EQ(request.authorization, "") << "this is not the hub";
  }
  EXPECT_EQ(server.requests().front().range, "bytes=0-1048575");
  EXPECT_LT(server.bytes_sent(), kMost);
}

TEST_F(HubTest, AsksOnceForASmallHeader) {
  const ModelServer server([](const Request&) { return reply_of(small_model()); });
  ASSERT_TRUE(fetch(server.address() + "/m.gguf"));
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(HubTest, EndsTheTransferOfAServerThatIgnoresRanges) {
  for (const bool tells_size : {true, false}) {
    Reply file = reply_of(large_model());
    file.status = 200;
    file.tells_size = tells_size;
    const ModelServer server([&](const Request&) { return file; });
    const auto files = fetch(server.address() + "/m.gguf");
    ASSERT_TRUE(files) << files.error().message;
    EXPECT_TRUE(model::read_model(files->front(), Weights::kMayBeMissing));
    EXPECT_EQ(server.requests().size(), 1U);
    EXPECT_LT(server.bytes_sent(), 64U << 20);  // The bytes in the buffers of the sockets are sent in vain.
  }
}

TEST_F(HubTest, FetchesEveryPartOfASplitModel) {
  const auto part = [](const std::string& path) {
    const std::uint16_t number = path.contains("-00002-of-00003")   ? 1
                                 : path.contains("-00003-of-00003") ? 2
                                                                    : 0;
    TestFile file = number == 0 ? small_model() : TestFile();
    file.u16("split.no", number).u16("split.count", 3);
    file.tensor("part" + std::to_string(number), {1 << 20, 1 << 10});
    return reply_of(file);
  };
  const ModelServer server([&](const Request& request) { return part(request.path); });
  const auto files = fetch(server.address() + "/m-00001-of-00003.gguf?download=true");
  ASSERT_TRUE(files) << files.error().message;
  ASSERT_EQ(files->size(), 3U);
  EXPECT_EQ(server.requests().size(), 3U);
  EXPECT_EQ(server.requests()[2].path, "/m-00003-of-00003.gguf?download=true");
  const auto profile = model::read_model(files->front(), Weights::kMayBeMissing);
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->tensors.size(), 5U);

  const auto second = fetch(server.address() + "/m-00002-of-00003.gguf");
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message,
              AllOf(HasSubstr("is part 2 of 3: give the first part"), EndsWith("/m-00001-of-00003.gguf")));
}

TEST_F(HubTest, TellsTheTokenToTheHubAndToNobodyElse) {
  const Reply file = reply_of(large_model());
  std::string elsewhere;
  const ModelServer server([&](const Request& request) {
    if (request.host.starts_with("localhost")) return file;
    return Reply{.status = 302, .headers = {{"Location", elsewhere + "/cdn/m.gguf"}}};
  });
  elsewhere = server.address("localhost");
  settings_.endpoint = server.address();
  const auto files = fetch(settings_.endpoint + "/org/repo/resolve/main/m.gguf");
  ASSERT_TRUE(files) << files.error().message;
  std::size_t at_hub = 0;
  for (const Request& request : server.requests()) {
    const bool hub = request.host.starts_with("127.0.0.1");
    at_hub += hub ? 1 : 0;
    EXPECT_EQ(request.authorization, hub ? "Bearer hf_secret" : "") << request.host;
  }
  EXPECT_GT(at_hub, 0U);
  EXPECT_GT(server.requests().size(), at_hub);

  settings_.endpoint = "https://huggingface.co";
  ASSERT_TRUE(fetch(server.address() + "/org/repo/resolve/main/m.gguf"));
  EXPECT_EQ(server.requests().back().authorization, "");
}

TEST_F(HubTest, SaysWhatToDoWhereTheServerRefuses) {
  std::atomic<int> status = 404;
  const ModelServer server([&](const Request&) {
    return Reply{.status = status.load(), .body = "<html>no</html>", .type = "text/html"};
  });
  const std::string url = server.address() + "/org/repo/resolve/main/m.gguf";
  EXPECT_THAT(refused(url), HasSubstr("no file of this name (404): check the name"));
  status = 503;
  EXPECT_THAT(refused(url), HasSubstr("the server reports an error of its own (503)"));
  status = 401;
  EXPECT_THAT(refused(url), HasSubstr("refuses access (401)"));
  settings_.endpoint = server.address();
  EXPECT_THAT(refused(url), HasSubstr("accept its licence on " + server.address() + "/org/repo"));
  settings_.token.clear();
  EXPECT_THAT(fetch(url).error().message, HasSubstr("set HF_TOKEN"));
  for (const Request& request : server.requests()) EXPECT_EQ(request.path, "/org/repo/resolve/main/m.gguf");
}

TEST_F(HubTest, RefusesAWebPage) {
  const ModelServer server([](const Request&) {
    return Reply{.body = "<!DOCTYPE html><html></html>", .type = "text/html; charset=utf-8"};
  });
  EXPECT_THAT(refused(server.address() + "/org/repo/blob/main/m.gguf"),
              HasSubstr("is a web page, not a model"));
}

TEST_F(HubTest, RefusesWhatIsNoModel) {
  const ModelServer text([](const Request&) { return Reply{.body = "hello", .size = 1 << 30}; });
  EXPECT_THAT(refused(text.address() + "/m.gguf"), HasSubstr("starts with 'hell' instead of 'GGUF'"));
  EXPECT_LE(text.bytes_sent(), 1U << 20);
  const ModelServer empty([](const Request&) { return Reply{}; });
  EXPECT_THAT(refused(empty.address() + "/m.gguf"), HasSubstr("empty"));
  const ModelServer cut(
      [](const Request&) { return Reply{.body = text_of(large_model().header()).substr(0, 2'000'000)}; });
  EXPECT_THAT(refused(cut.address() + "/m.gguf"), HasSubstr("the file ends inside"));
}

TEST_F(HubTest, GoesOnWhereAConnectionBreaks) {
  const Reply file = reply_of(large_model());
  std::atomic<int> answers = 0;
  const ModelServer server([&](const Request&) {
    Reply reply = file;
    if (++answers <= 3) reply.breaks_after = 900'000;
    return reply;
  });
  const auto files = fetch(server.address() + "/m.gguf");
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_TRUE(model::read_model(files->front(), Weights::kMayBeMissing));
  EXPECT_EQ(server.requests()[1].range, "bytes=900000-1048575");
  EXPECT_LT(server.bytes_sent(), kMost);
}

TEST_F(HubTest, GivesUpWhereConnectionsOnlyBreak) {
  Reply file = reply_of(large_model());
  file.breaks_after = 0;
  const ModelServer server([&](const Request&) { return file; });
  EXPECT_THAT(refused(server.address() + "/m.gguf"), HasSubstr("the transfer broke off"));
  file.breaks_after = 1000;
  EXPECT_THAT(refused(server.address() + "/m.gguf"), HasSubstr("the transfer broke off"));
  EXPECT_LE(server.requests().size(), 10U);
}

TEST_F(HubTest, DoesNotWaitForAServerThatSaysNothing) {
  Reply file = reply_of(small_model());
  file.delay = std::chrono::minutes(5);
  const ModelServer server([&](const Request&) { return file; });
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(refused(server.address() + "/m.gguf"), HasSubstr("the server takes too long"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, file.delay / 2);
}

TEST_F(HubTest, SaysThatAServerCannotBeReached) {
  std::string address;
  {
    const ModelServer server([](const Request&) { return Reply{}; });
    address = server.address();
  }
  EXPECT_THAT(refused(address + "/m.gguf"), HasSubstr("cannot connect"));
  EXPECT_THAT(refused("http://no-such-host.invalid/m.gguf"),
              AnyOf(HasSubstr("the host name cannot be resolved"), HasSubstr("takes too long")));
}

TEST_F(HubTest, SpeaksOnlyHttp) {
  EXPECT_THAT(refused("file:///etc/passwd"), HasSubstr("give an http:// or https:// address"));
  const ModelServer server([](const Request&) {
    return Reply{.status = 302, .headers = {{"Location", "file:///etc/passwd"}}};
  });
  EXPECT_THAT(refused(server.address() + "/m.gguf"), HasSubstr("the server redirects away from http://"));
  std::string again;
  const ModelServer circle([&](const Request&) {
    return Reply{.status = 302, .headers = {{"Location", again}}};
  });
  again = circle.address() + "/m.gguf";
  EXPECT_THAT(refused(again), HasSubstr("redirects in a circle"));
  EXPECT_LE(circle.requests().size(), 11U);
}

TEST_F(HubTest, SaysWhichFileCannotBeWritten) {
  const ModelServer server([](const Request&) { return reply_of(small_model()); });
  settings_.token = "x";
  hub::Http http = std::move(hub::Http::open(settings_).value());
  const auto files = hub::fetch_headers(http, server.address() + "/m.gguf", directory_.path() / "none");
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().code, ErrorCode::kIo);
  EXPECT_THAT(files.error().message, HasSubstr("none/m.gguf: cannot be written"));
}

/// A hub with one repository, listed on two pages.
class HubRepositoryTest : public HubTest {
 protected:
  void SetUp() override {
    HubTest::SetUp();
    settings_.endpoint = server_.address();
  }

  Reply answer(const Request& request) const {
    const std::string list = "/api/models/org/model-GGUF/tree/main?recursive=true";
    if (request.path == list) {
      return {.body = listing({"README.md", "m-BF16.gguf"}),
              .type = "application/json",
              .headers = {{"Link", "<" + server_.address() + list + "&cursor=2>; rel=\"next\""}}};
    }
    if (request.path == list + "&cursor=2") {
      return {.body = listing({"m-Q4_K_M.gguf", "sub dir/m-Q8_0.gguf"}), .type = "application/json"};
    }
    if (request.path.ends_with(".gguf")) return reply_of(small_model());
    if (request.path.contains("not-json")) return {.body = "<html>", .type = "text/html"};
    return {.status = 401, .body = "{}"};
  }

  static std::string listing(const std::vector<std::string>& paths) {
    auto list = nlohmann::json::array(
        {{{"type", "directory"}, {"path", "m-Q4_K_M.gguf"}}, "nonsense", {{"type", 1}}});
    for (const std::string& path : paths) list.push_back({{"type", "file"}, {"path", path}, {"size", 1}});
    return list.dump();
  }

  std::string refusal(const std::string& name) {
    const auto model = hub::locate({.model = "", .hub = name}, settings_);
    return model ? "accepted" : model.error().message;
  }

  const ModelServer server_{[this](const Request& request) { return answer(request); }};
};

TEST_F(HubRepositoryTest, FindsAModelByItsName) {
  const auto model = hub::locate({.model = "", .hub = "org/model-GGUF"}, settings_);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(model->header_only());
  EXPECT_EQ(model->path.filename(), "m-Q4_K_M.gguf");
  EXPECT_TRUE(model::read_model(model->path, Weights::kMayBeMissing));
  EXPECT_EQ(server_.requests().back().path, "/org/model-GGUF/resolve/main/m-Q4_K_M.gguf");
  for (const Request& request : server_.requests()) EXPECT_EQ(request.authorization, "Bearer hf_secret");

  const auto exact = hub::locate({.model = "", .hub = "org/model-GGUF:q8_0"}, settings_);
  ASSERT_TRUE(exact) << exact.error().message;
  EXPECT_EQ(server_.requests().back().path, "/org/model-GGUF/resolve/main/sub%20dir/m-Q8_0.gguf");
}

TEST_F(HubRepositoryTest, SaysWhatIsThere) {
  EXPECT_THAT(refusal("org/model-GGUF:Q5_0"), HasSubstr("/org/model-GGUF: it has no 'Q5_0'; it has: "
                                                        "BF16, Q4_K_M, Q8_0"));
  EXPECT_THAT(refusal("org/other"), AllOf(HasSubstr("401"), HasSubstr("check the name")));
  EXPECT_THAT(refusal("org/not-json"), HasSubstr("check HF_ENDPOINT"));
  EXPECT_THAT(refusal("no-slash"), HasSubstr("ORGANISATION/REPOSITORY"));
}

TEST_F(HubRepositoryTest, FetchedHeadersAreRemovedWithTheModel) {
  fs::path folder;
  {
    const auto model = hub::locate({.model = server_.address() + "/x/m.gguf", .hub = ""}, settings_);
    ASSERT_TRUE(model) << model.error().message;
    folder = model->path.parent_path();
    EXPECT_TRUE(fs::exists(model->path));
  }
  EXPECT_FALSE(fs::exists(folder));
}

TEST(ModelSource, LeavesAPathAsItIs) {
  ::setenv("HF_TOKEN", "no token", 1);
  const auto model = hub::locate({.model = "some/file.gguf", .hub = ""});
  ::unsetenv("HF_TOKEN");
  ASSERT_TRUE(model);
  EXPECT_EQ(model->path, "some/file.gguf");
  EXPECT_FALSE(model->header_only());
  EXPECT_FALSE(hub::locate({.model = "", .hub = ""}));
  EXPECT_FALSE(hub::locate({.model = "a.gguf", .hub = "org/model"}));
}

TEST(HubSettings, ComeFromTheEnvironment) {
  ::setenv("HF_ENDPOINT", "https://mirror.example/", 1);
  ::setenv("HF_TOKEN", "hf_x\n", 1);
  const auto settings = hub::settings_from_environment();
  ::setenv("HF_TOKEN", "hf x", 1);
  const auto bad_token = hub::settings_from_environment();
  ::unsetenv("HF_TOKEN");
  ::setenv("HF_ENDPOINT", "mirror", 1);
  const auto bad_endpoint = hub::settings_from_environment();
  ::unsetenv("HF_ENDPOINT");
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->endpoint, "https://mirror.example");
  EXPECT_EQ(settings->token, "hf_x");
  EXPECT_TRUE(settings->is_hub("https://mirror.example/a/b"));
  EXPECT_FALSE(settings->is_hub("https://mirror.example.evil/a/b"));
  EXPECT_FALSE(settings->is_hub("https://mirror.example@evil/a"));
  ASSERT_FALSE(bad_token);
  EXPECT_THAT(bad_token.error().message, AllOf(StartsWith("HF_TOKEN"), Not(HasSubstr("hf x"))));
  ASSERT_FALSE(bad_endpoint);
  EXPECT_THAT(bad_endpoint.error().message, StartsWith("HF_ENDPOINT"));
}

}  // namespace
}  // namespace brimful::tests

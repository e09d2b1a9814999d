// Downloads into the cache, from a server in this process that drops, corrupts, stalls, redirects and lies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include "hub/download.h"
#include "hub/fetch_model.h"
#include "hub_server.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Reply = ModelServer::Reply;
using Request = ModelServer::Request;

constexpr std::uint64_t kPiece = 64 * 1024;
constexpr std::size_t kSize = 20 * kPiece + 1000;
constexpr const char* kName = "m-Q4_K_M.gguf";

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The first byte of a request's range.
std::uint64_t begin_of(const Request& request) {
  return std::strtoull(request.range.c_str() + std::string("bytes=").size(), nullptr, 10);
}
std::uint64_t end_of(const Request& request) {
  return std::strtoull(request.range.c_str() + request.range.find('-') + 1, nullptr, 10) + 1;
}

class DownloadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("no_proxy", "*", 1);
    settings_.stall_limit = std::chrono::seconds(1);
    settings_.connect_limit = std::chrono::seconds(2);
    settings_.retry_pause = std::chrono::milliseconds(1);
    settings_.connections = 3;
  }

  hub::Download file(const HubServer& server) const {
    const hub::HubCache cache(directory_.path());
    return {.url = server.address() + "/" + HubServer::kRepository + "/resolve/" + HubServer::kCommit + "/" +
                   kName,
            .hash = server.hash(kName),
            .size = kSize,
            .blob = cache.blob(HubServer::kRepository, server.hash(kName)),
            .lock = cache.lock(HubServer::kRepository, server.hash(kName)),
            .piece = kPiece};
  }

  Status fetch(const HubServer& server) { return fetch(file(server)); }
  Status fetch(const hub::Download& file) {
    return hub::download(settings_, file,
                         {.begins = [this](Bytes already) { already_ = already.value; },
                          .progress = [this](Bytes done) { most_done_ = std::max(most_done_, done.value); },
                          .note = [this](const std::string& note) { notes_ += note + '\n'; }});
  }

  std::string refused(const hub::Download& file) {
    const Status done = fetch(file);
    if (done) return "accepted";
    EXPECT_EQ(done.error().message.find('\n'), std::string::npos);
    EXPECT_FALSE(fs::exists(file.blob));
    return done.error().message;
  }

  void expect_whole(const hub::Download& file) const {
    EXPECT_TRUE(content_of(file.blob) == content_);
    EXPECT_FALSE(fs::exists(hub::part_of(file.blob)));
    EXPECT_FALSE(fs::exists(hub::pieces_of(file.blob)));
  }

  /// Fetches a part of the file over one connection and ends with an error, as the server refuses requests
  /// after the first ones.
  void fetch_a_part(std::size_t requests) {
    std::atomic<std::size_t> count = 0;
    HubServer server(HubServer::Files{{kName, content_}}, [&](const Request&, Reply& reply) {
      if (++count > requests) reply = {.status = 403, .body = "no"};
      reply.breaks_after = 5 * kPiece / 2;
    });
    settings_.connections = 1;
    EXPECT_THAT(refused(file(server)), HasSubstr("403"));
  }

  const std::string content_ = random_text(kSize);
  hub::Settings settings_;
  TemporaryDirectory directory_;
  std::uint64_t already_ = 0;
  std::uint64_t most_done_ = 0;
  std::string notes_;
};

TEST_F(DownloadTest, FetchesAFileOverSeveralConnections) {
  HubServer server(HubServer::Files{{kName, content_}});
  const Status done = fetch(server);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(file(server));
  // What was on its way when a connection gave the rest of its span away is sent in vain.
  EXPECT_LT(server.server().bytes_sent(), 2 * kSize);
  EXPECT_EQ(most_done_, kSize);
  EXPECT_GE(server.file_requests(), 3U);
  const std::size_t requests = server.file_requests();
  EXPECT_TRUE(fetch(server));
  EXPECT_EQ(server.file_requests(), requests) << "what is there is not asked for";
}

TEST_F(DownloadTest, ContinuesWhereConnectionsBreak) {
  settings_.connections = 1;
  HubServer server(HubServer::Files{{kName, content_}},
                   [&](const Request&, Reply& reply) { reply.breaks_after = 100'000; });
  const Status done = fetch(server);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(file(server));
  EXPECT_EQ(server.server().bytes_sent(), kSize) << "a break costs no byte";
}

TEST_F(DownloadTest, MakesAStalledConnectionAgain) {
  std::atomic<int> stalls = 0;
  HubServer server(HubServer::Files{{kName, content_}}, [&](const Request& request, Reply& reply) {
    // The last per cent is what never arrives.
    if (end_of(request) == kSize && stalls++ == 0) reply.stalls_after = kSize - 5000 - begin_of(request);
  });
  const Status done = fetch(server);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(file(server));
  EXPECT_GE(stalls, 2);
}

TEST_F(DownloadTest, GivesUpWhereNothingArrives) {
  HubServer server(HubServer::Files{{kName, content_}},
                   [&](const Request&, Reply& reply) { reply.breaks_after = 0; });
  EXPECT_THAT(refused(file(server)), HasSubstr("the transfer broke off"));
  EXPECT_LE(server.file_requests(), 20U);
}

TEST_F(DownloadTest, ContinuesAnEarlierDownload) {
  fetch_a_part(3);
  HubServer server(HubServer::Files{{kName, content_}});
  EXPECT_EQ(hub::unfinished_bytes(file(server).blob), Bytes{7 * kPiece}) << "of seven and a half pieces";
  const Status done = fetch(server);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(file(server));
  EXPECT_EQ(already_, 7 * kPiece);
  EXPECT_EQ(server.server().bytes_sent(), kSize - 7 * kPiece);
}

TEST_F(DownloadTest, AKillAtAnyByteOfTheStateCostsAtMostAPiece) {
  fetch_a_part(3);
  HubServer server(HubServer::Files{{kName, content_}});
  const hub::Download wanted = file(server);
  const std::string state = content_of(hub::pieces_of(wanted.blob));
  const std::string part = content_of(hub::part_of(wanted.blob));
  for (std::size_t cut = 0; cut <= state.size(); cut += 37) {
    fs::remove(wanted.blob);
    std::ofstream(hub::pieces_of(wanted.blob), std::ios::binary) << state.substr(0, cut);
    std::ofstream(hub::part_of(wanted.blob), std::ios::binary) << part;
    const Status done = fetch(wanted);
    ASSERT_TRUE(done) << done.error().message;
    expect_whole(wanted);
  }
}

TEST_F(DownloadTest, FetchesOnlyThePieceAgainThatTheDiskHasLost) {
  fetch_a_part(3);
  HubServer server(HubServer::Files{{kName, content_}});
  const hub::Download wanted = file(server);
  {
    std::fstream part(hub::part_of(wanted.blob), std::ios::binary | std::ios::in | std::ios::out);
    part.seekp(2 * kPiece + 17);
    part.write("lost", 4);
  }
  const Status done = fetch(wanted);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(wanted);
  EXPECT_EQ(server.server().bytes_sent(), kSize - 6 * kPiece) << "six good pieces were there";
  EXPECT_THAT(notes_, HasSubstr("looking for the wrong ones"));
}

TEST_F(DownloadTest, FindsThePiecesThatWereSentWrong) {
  settings_.connections = 1;
  std::mutex mutex;
  std::set<std::size_t> sent_wrong;
  HubServer server(HubServer::Files{{kName, content_}}, [&](const Request& request, Reply& reply) {
    const std::lock_guard lock(mutex);
    for (const std::size_t wrong : {3 * kPiece + 5, 9 * kPiece + 70}) {
      if (begin_of(request) <= wrong && wrong < end_of(request) && sent_wrong.insert(wrong).second)
        reply.body[wrong] ^= 1;
    }
  });
  const Status done = fetch(server);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(file(server));
  EXPECT_EQ(sent_wrong.size(), 2U);
  // Ten pieces are looked at again, two of them twice.
  EXPECT_EQ(server.server().bytes_sent(), kSize + 12 * kPiece);
}

TEST_F(DownloadTest, SaysThatTheServerHasAnotherFileAndKeepsWhatItHas) {
  HubServer server(HubServer::Files{{kName, content_}},
                   [&](const Request&, Reply& reply) { reply.body[100] ^= 1; });
  EXPECT_THAT(refused(file(server)),
              AllOf(HasSubstr("other bytes than the hub's hash says"), HasSubstr("stays")));
  EXPECT_EQ(hub::unfinished_bytes(file(server).blob), Bytes{kSize});
  HubServer healed(HubServer::Files{{kName, content_}});
  const Status done = fetch(healed);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(file(healed));
  EXPECT_EQ(healed.server().bytes_sent(), 2 * kPiece) << "the first piece was wrong, and is found at once";
}

TEST_F(DownloadTest, RefusesAFileThatChanges) {
  HubServer changed(HubServer::Files{{kName, content_}}, [&](const Request&, Reply& reply) {
    reply.headers["X-Linked-Etag"] = '"' + std::string(64, 'b') + '"';
  });
  EXPECT_THAT(refused(file(changed)), HasSubstr("the file has changed on the server"));
  HubServer longer(HubServer::Files{{kName, content_}},
                   [&](const Request&, Reply& reply) { reply.body += "more"; });
  EXPECT_THAT(refused(file(longer)), HasSubstr("bytes in place of"));
  HubServer silent(HubServer::Files{{kName, content_}}, [&](const Request&, Reply& reply) {
    reply.status = 200;
    reply.tells_size = false;
  });
  EXPECT_THAT(refused(file(silent)), HasSubstr("does not say how large the file is"));
}

TEST_F(DownloadTest, TakesAServerThatIgnoresRanges) {
  HubServer server(HubServer::Files{{kName, content_}},
                   [&](const Request&, Reply& reply) { reply.status = 200; });
  const Status done = fetch(server);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(file(server));
}

TEST_F(DownloadTest, EndsAtOnceWhereTheHubRefuses) {
  for (const int status : {401, 403, 404}) {
    HubServer server(HubServer::Files{{kName, content_}},
                     [&](const Request&, Reply& reply) { reply = {.status = status, .body = "no"}; });
    settings_.endpoint = server.address();
    EXPECT_THAT(refused(file(server)), HasSubstr("(" + std::to_string(status) + ")"));
    EXPECT_LE(server.file_requests(), settings_.connections);
  }
}

TEST_F(DownloadTest, TellsTheTokenToTheHubOnly) {
  settings_.token = "hf_secret";
  std::string elsewhere;
  HubServer server(HubServer::Files{{kName, content_}}, [&](const Request& request, Reply& reply) {
    if (request.host.starts_with("localhost")) {
      reply.headers.erase("X-Linked-Etag");  // Only the hub says it.
      return;
    }
    reply.status = 302;
    reply.body.clear();
    reply.headers["Location"] = elsewhere + request.path;
  });
  elsewhere = server.server().address("localhost");
  settings_.endpoint = server.address();
  const Status done = fetch(server);
  ASSERT_TRUE(done) << done.error().message;
  expect_whole(file(server));
  bool redirected = false;
  for (const Request& request : server.server().requests()) {
    const bool hub = request.host.starts_with("127.0.0.1");
    redirected = redirected || !hub;
    EXPECT_EQ(request.authorization, hub ? "Bearer hf_secret" : "") << request.host;
  }
  EXPECT_TRUE(redirected);
}

TEST_F(DownloadTest, IsFetchedOnceForAllWhoAsk) {
  settings_.connections = 1;
  HubServer server(HubServer::Files{{kName, content_}},
                   [&](const Request&, Reply& reply) { reply.delay = std::chrono::milliseconds(100); });
  const hub::Download wanted = file(server);
  Status other;
  std::thread second([&] { other = hub::download(settings_, wanted, {}); });
  const Status done = fetch(wanted);
  second.join();
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_TRUE(other) << other.error().message;
  expect_whole(wanted);
  EXPECT_EQ(server.server().bytes_sent(), kSize);
}

TEST_F(DownloadTest, ChecksTheSpaceFirst) {
  HubServer server(HubServer::Files{{kName, content_}});
  hub::Download huge = file(server);
  huge.size = std::uint64_t{1} << 58;
  huge.piece = std::uint64_t{1} << 50;
  const Status done = fetch(huge);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kNoSpace);
  EXPECT_THAT(done.error().message, AllOf(HasSubstr("are needed and"), HasSubstr("HF_HUB_CACHE")));
  EXPECT_TRUE(server.server().requests().empty());
}

TEST_F(DownloadTest, StaysBelowARate) {
  settings_.limit_rate = 4 << 20;
  HubServer server(HubServer::Files{{kName, content_}});
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(fetch(server));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  // Each connection waits after the bytes that it got; the last ones need no wait any more.
  EXPECT_GE(took.count(), 0.8 * static_cast<double>(kSize) / static_cast<double>(*settings_.limit_rate));
}

TEST_F(DownloadTest, ACacheThatCannotBeWrittenIsNamed) {
  HubServer server(HubServer::Files{{kName, content_}});
  std::ofstream(directory_.path() / "file") << "no folder";
  hub::Download wanted = file(server);
  wanted.lock = directory_.path() / "file" / "x.lock";
  EXPECT_THAT(refused(wanted), AllOf(HasSubstr("file/x.lock: cannot be written"), HasSubstr("HF_HUB_CACHE")));
}

/// Whole models, by name.
class HubModelTest : public DownloadTest {
 protected:
  Result<fs::path> pull(const HubServer& server, const std::string& name) {
    settings_.endpoint = server.address();
    BRIMFUL_TRY(const hub::HubModel model, hub::parse_hub_model(name));
    BRIMFUL_TRY(hub::Http http, hub::Http::open(settings_));
    BRIMFUL_TRY(const hub::HubFiles files, hub::find_files(http, model));
    return hub::download_model(settings_, hub::HubCache(directory_.path()), files,
                               [](const auto&, std::size_t) { return hub::DownloadListener(); });
  }

  std::string refusal(const HubServer& server, const std::string& name) {
    const auto file = pull(server, name);
    return file ? "accepted" : file.error().message;
  }
};

TEST_F(HubModelTest, AllPartsOfASplitModelAreFetched) {
  const std::string second = random_text(5000, 2);
  HubServer server(
      HubServer::Files{{"sub/m-00001-of-00002.gguf", content_}, {"sub/m-00002-of-00002.gguf", second}});
  const auto file = pull(server, "org/model-GGUF");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->filename(), "m-00001-of-00002.gguf");
  EXPECT_TRUE(content_of(*file) == content_);
  EXPECT_TRUE(content_of(file->parent_path() / "m-00002-of-00002.gguf") == second);
  const auto cached = hub::exactly_in(hub::HubCache(directory_.path()), {"org/model-GGUF", std::nullopt});
  EXPECT_FALSE(cached) << "the hub may have a Q4_K_M by now";
  ASSERT_EQ(hub::HubCache(directory_.path()).models().size(), 1U);
}

TEST_F(HubModelTest, RefusesNamesOutsideTheCache) {
  HubServer server(HubServer::Files{{"../../outside-Q4_K_M.gguf", content_}});
  EXPECT_THAT(refusal(server, "org/model-GGUF"), HasSubstr("outside the cache"));
  EXPECT_EQ(server.file_requests(), 0U);
  EXPECT_TRUE(fs::is_empty(directory_.path()));
}

TEST_F(HubModelTest, SaysWhatIsWrongWithAName) {
  HubServer server(HubServer::Files{{"README.md", "text"}});
  EXPECT_THAT(refusal(server, "org/model-GGUF"), HasSubstr("it has no GGUF model"));
  EXPECT_THAT(refusal(server, "org/other"), HasSubstr("(404)"));
  HubServer some(HubServer::Files{{"m-Q8_0.gguf", content_}, {"m-Q2_K.gguf", content_}});
  EXPECT_THAT(refusal(some, "org/model-GGUF:Q5_0"), HasSubstr("it has: Q2_K, Q8_0"));
  settings_.offline = true;
  EXPECT_THAT(refusal(some, "org/model-GGUF"), HasSubstr("HF_HUB_OFFLINE"));
  EXPECT_TRUE(fs::is_empty(directory_.path()));
}

}  // namespace
}  // namespace brimful::tests

#include "serve/http_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

namespace brimful::serve {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Pair;

HttpRequest request(const std::string& host, HttpFields fields = {}, const std::string& method = "POST") {
  HttpRequest out;
  out.method = method;
  out.host = host;
  out.fields = std::move(fields);
  return out;
}

bool lets_in(const HttpAccess& access, const std::string& host, HttpFields fields = {}) {
  return !access.check_origin(request(host, std::move(fields)));
}

TEST(HttpAccessTest, WithoutAKeyOnlyNamesOfThisMachineAreTaken) {
  const HttpAccess access({});
  for (const char* const host : {"localhost", "LOCALHOST:8080", "localhost.:80", "127.0.0.1", "127.0.0.1:1",
                                 "127.1.2.3", "[::1]", "[::1]:8080", ""})
    EXPECT_TRUE(lets_in(access, host)) << host;
  for (const char* const host :
       {"evil.example", "localhost.evil.example", "evil.example:8080", "127.0.0.1.evil.example", "0.0.0.0",
        "192.168.1.2", "[::2]", "[::1]x", "[::1", "127.evil", "::1", "@localhost",
        "localhost:80@evil.example", "localhost:80:80", "[::1]:a"})
    EXPECT_FALSE(lets_in(access, host)) << host;
  EXPECT_TRUE(lets_in(HttpAccess({.host = "box.example"}), "box.example:8080"));
  EXPECT_TRUE(lets_in(HttpAccess({.host = "::1"}), "[::1]:8080"));
}

// A web page can give this machine a name of its own (DNS rebinding), but that name is never an address or
// the machine's own name.
TEST(HttpAccessTest, AServerForOthersTakesAddressesAndTheMachinesName) {
  std::array<char, 256> name{};
  ASSERT_EQ(::gethostname(name.data(), name.size() - 1), 0);
  for (const char* const host : {"0.0.0.0", "::", "192.168.1.2"}) {
    const HttpAccess access({.host = host});
    for (const std::string& good :
         {std::string("192.168.1.2:8080"), std::string("[fe80::1]"), std::string("localhost"),
          std::string(name.data()), name.data() + std::string(".local:8080")})
      EXPECT_TRUE(lets_in(access, good)) << good;
    EXPECT_FALSE(lets_in(access, "evil.example")) << host;
  }
}

TEST(HttpAccessTest, PagesOfOtherOriginsAreRefused) {
  const HttpAccess access({});
  EXPECT_TRUE(lets_in(access, "localhost:8080", {{"origin", "http://localhost:8080"}}));
  for (const char* const origin :
       {"http://evil.example", "http://localhost:3000", "null", "http://localhost"})
    EXPECT_FALSE(lets_in(access, "localhost:8080", {{"origin", origin}})) << origin;
  for (const char* const first : {"http://localhost:8080", ""})
    EXPECT_FALSE(lets_in(access, "localhost:8080", {{"origin", first}, {"origin", "http://evil.example"}}));
  const HttpAccess some({.cors_origins = {"http://localhost:3000"}});
  EXPECT_TRUE(lets_in(some, "localhost:8080", {{"origin", "http://localhost:3000"}}));
  EXPECT_FALSE(lets_in(some, "localhost:8080", {{"origin", "http://localhost:30000"}}));
  EXPECT_TRUE(lets_in(HttpAccess({.cors_origins = {"*"}}), "localhost", {{"origin", "null"}}));
  EXPECT_FALSE(
      lets_in(HttpAccess({.cors_origins = {"*"}}), "evil.example", {{"origin", "http://evil.example"}}));
}

TEST(HttpAccessTest, KeysComeAsBearerOrInAFieldOfTheirOwn) {
  const HttpAccess access({.api_keys = {"one", "two"}});
  EXPECT_TRUE(lets_in(access, "evil.example", {{"origin", "http://evil.example"}}))
      << "the key keeps them out";
  const auto knows = [&](HttpFields fields) { return !access.check_key(request("x", std::move(fields))); };
  EXPECT_TRUE(knows({{"authorization", "Bearer one"}}));
  EXPECT_TRUE(knows({{"authorization", "bearer two"}}));
  EXPECT_TRUE(knows({{"authorization", "BEARER  two"}}));
  EXPECT_TRUE(knows({{"x-api-key", "one"}}));
  for (const char* const wrong :
       {"Bearer On", "Bearer onE", "one", "Basic one", "Bearer", "Bearer ", "Bearer one two", ""})
    EXPECT_FALSE(knows({{"authorization", wrong}})) << wrong;
  EXPECT_FALSE(knows({}));
}

TEST(HttpAccessTest, BodiesSayThatTheyAreJson) {
  const auto status = [](const HttpAccess& access, const char* type) {
    const auto refusal = access.check_json(request("localhost", {{"content-type", type}}));
    return refusal ? refusal->status : 200;
  };
  EXPECT_EQ(status(HttpAccess({}), "application/json"), 200);
  EXPECT_EQ(status(HttpAccess({}), "Application/JSON ; charset=utf-8"), 200);
  for (const char* const type :
       {"text/plain", "", "application/x-www-form-urlencoded", "text/plain; application/json"})
    EXPECT_EQ(status(HttpAccess({}), type), 415) << type;
  EXPECT_EQ(status(HttpAccess({.api_keys = {"k"}}), "text/plain"), 200);
}

TEST(HttpAccessTest, ABrowserIsToldWhatAPageMaySend) {
  const HttpAccess access({.api_keys = {"k"}, .cors_origins = {"http://page.example"}});
  const auto ask = [&](const char* origin) {
    HttpRequest asked = request("x",
                                {{"origin", origin},
                                 {"access-control-request-method", "POST"},
                                 {"access-control-request-headers", "authorization,content-type"},
                                 {"access-control-request-private-network", "true"}},
                                "OPTIONS");
    auto out = access.preflight(asked);
    if (out) access.add_fields(asked, *out);
    return out;
  };
  const auto good = ask("http://page.example");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->status, 204);
  EXPECT_THAT(good->fields, Contains(Pair("Access-Control-Allow-Origin", "http://page.example")));
  EXPECT_THAT(good->fields, Contains(Pair("Access-Control-Allow-Headers", "authorization,content-type")));
  EXPECT_THAT(good->fields, Contains(Pair("Access-Control-Allow-Methods", HasSubstr("POST"))));
  EXPECT_THAT(good->fields, Contains(Pair("Access-Control-Allow-Private-Network", "true")));
  EXPECT_THAT(good->fields, Contains(Pair("Vary", "Origin")));
  const auto bad = ask("http://evil.example");
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->status, 403);
  EXPECT_THAT(bad->fields, testing::Not(Contains(Pair("Access-Control-Allow-Origin", testing::_))));
  EXPECT_FALSE(access.preflight(request("x", {{"origin", "http://page.example"}}, "OPTIONS")));
}

TEST(HttpAccessTest, KeysAndOriginsAreCheckedAtTheStart) {
  EXPECT_TRUE(check_api_key("sk-1", "--api-key"));
  for (const char* const key : {"", " ", "a b", "a\t", "\xc3\xa4"})
    EXPECT_FALSE(check_api_key(key, "--api-key")) << key;
  EXPECT_THAT(check_api_key("", "BRIMFUL_API_KEY").error().message,
              HasSubstr("BRIMFUL_API_KEY: the key is empty"));
  EXPECT_EQ(*read_origin("*"), "*");
  EXPECT_EQ(*read_origin("HTTP://LocalHost:3000/"), "http://localhost:3000");
  EXPECT_EQ(*read_origin("app://obsidian.md"), "app://obsidian.md");
  for (const char* const text :
       {"", "localhost:3000", "http://", "http://x/y", "http://x y", "http://x\r\nA: b"})
    EXPECT_FALSE(read_origin(text)) << text;
}

}  // namespace
}  // namespace brimful::serve

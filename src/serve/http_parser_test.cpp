#include "serve/http_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace brimful::serve {
namespace {

/// Parses `bytes` in pieces of at most `size`. Returns a text with the request, its body and the rest, or
/// with the reason of the refusal.
std::string outcome(std::string_view bytes, std::size_t size) {
  HttpParser parser;
  std::string received;
  std::string body;
  bool has_head = false;
  for (std::size_t at = 0; at < bytes.size() && !(has_head && parser.is_complete()); at += size) {
    received += bytes.substr(at, size);
    if (!has_head) {
      const auto head = parser.read_head(received);
      if (!head) return std::to_string(head.error().status);
      has_head = *head;
    }
    if (!has_head) continue;
    if (const auto read = parser.read_body(received, body); !read) return std::to_string(read.error().status);
  }
  if (!has_head) return "half a head";
  std::string out = parser.request().method + " " + parser.request().path;
  for (const auto& [name, value] : parser.request().query)
    out.append("?").append(name).append("=").append(value);
  for (const auto& [name, value] : parser.request().fields)
    out.append("\n").append(name).append(": ").append(value);
  return out + "\n" + body + (parser.is_complete() ? "" : " and so on");
}

const std::string kSeeds[] = {
    "GET /a%20b?x=1&y=%41+b HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n",
    "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\nhello "
    "there",
    "POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
    "chunked\r\n\r\n5;a=\"b\"\r\nhello\r\na\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
    "GET http://other/path HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
};

TEST(HttpParserTest, TheSameBytesInOtherPiecesAreTheSameRequest) {
  EXPECT_EQ(outcome(kSeeds[0], 1000), "GET /a b?x=1?y=A b\nhost: localhost:8080\naccept: */*\n");
  EXPECT_EQ(outcome(kSeeds[2], 1), outcome(kSeeds[2], 1000));
  std::mt19937 random(1);
  const auto below = [&](std::size_t count) {
    return std::uniform_int_distribution<std::size_t>(0, count - 1)(random);
  };
  const std::string_view pieces[] = {"\r\n",
                                     "\r",
                                     "\n",
                                     ":",
                                     " ",
                                     "\t",
                                     "0",
                                     "f",
                                     ",",
                                     "%",
                                     "chunked",
                                     "Content-Length: 3\r\n",
                                     "Transfer-Encoding: chunked\r\n",
                                     "Host: y\r\n",
                                     "HTTP/1.1",
                                     "?",
                                     "&",
                                     "#",
                                     "\x80"};
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = kSeeds[below(std::size(kSeeds))];
    for (std::size_t change = below(4); change <= 3; ++change) {
      const std::size_t at = below(bytes.size());
      switch (below(4)) {
        case 0: bytes[at] = static_cast<char>(below(256)); break;
        case 1: bytes.erase(at, 1 + below(4)); break;
        case 2: bytes.insert(at, bytes.substr(below(bytes.size()), below(20))); break;
        default: bytes.insert(at, pieces[below(std::size(pieces))]);
      }
      if (bytes.empty()) bytes = "x";
    }
    const std::string whole = outcome(bytes, bytes.size());
    for (const std::size_t size : {std::size_t{1}, 1 + below(40)}) {
      const std::string other = outcome(bytes, size);
      ASSERT_EQ(other, whole) << "in pieces of " << size << ":\n" << bytes;
    }
  }
}

TEST(HttpParserTest, HoldsNoMoreThanTheLongestHeader) {
  for (const char fill : {'x', '\r', '0', ' '}) {
    HttpParser parser;
    std::string received;
    bool refused = false;
    for (int i = 0; i < 100 && !refused; ++i) {
      received += std::string(1000, fill);
      refused = !parser.read_head(received);
    }
    EXPECT_TRUE(refused);
    EXPECT_LE(received.size(), HttpParser::kLongestHead + 1000);
  }
}

}  // namespace
}  // namespace brimful::serve

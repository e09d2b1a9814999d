#include "hub/header_receiver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/gguf_test_file.h"

namespace brimful::hub {
namespace {

using model::testing::small_model;
using model::testing::TestFile;
using testing::HasSubstr;

/// Makes a model whose header is a little larger than `size`. Its weights are small.
TestFile model_with_header(std::size_t size) {
  TestFile file = small_model();
  file.text("tokenizer.chat_template", std::string(size, 'x'));
  return file;
}

Answer part(std::uint64_t first, std::optional<std::uint64_t> total) {
  Answer answer;
  answer.status = 206;
  answer.first = first;
  answer.total = total;
  return answer;
}

Answer whole(std::optional<std::uint64_t> total) {
  Answer answer = part(0, total);
  answer.status = 200;
  return answer;
}

using Content = std::vector<std::byte>;

/// Answers the receiver's requests as a server does. Returns the sizes that were asked for.
std::vector<std::uint64_t> serve(HeaderReceiver& receiver, const Content& file, bool tells_size = true) {
  std::vector<std::uint64_t> asked;
  while (!receiver.is_done() && !receiver.error() && asked.size() < 20) {
    const ByteRange range = receiver.wanted();
    asked.push_back(range.size);
    receiver.begin_answer();
    const std::uint64_t end = std::min<std::uint64_t>(range.first + range.size, file.size());
    const Answer answer = part(range.first, tells_size ? std::optional(file.size()) : std::nullopt);
    for (std::uint64_t at = range.first; at < end; at += 1000) {
      if (!receiver.take(answer, std::span(file).subspan(at, std::min<std::uint64_t>(1000, end - at)))) break;
    }
    receiver.end_answer(answer);
  }
  return asked;
}

TEST(HeaderReceiver, AsksOnceForASmallHeader) {
  const Content file = small_model().bytes();
  HeaderReceiver receiver;
  EXPECT_EQ(serve(receiver, file).size(), 1U);
  ASSERT_TRUE(receiver.is_done());
  EXPECT_EQ(receiver.header().size(), file.size() - 1024 - 64 * 64 / 32 * 34);
}

TEST(HeaderReceiver, AsksForMoreInGrowingSteps) {
  const Content file = model_with_header(5'000'000).bytes();
  for (const bool tells_size : {true, false}) {
    HeaderReceiver receiver;
    const auto asked = serve(receiver, file, tells_size);
    EXPECT_LE(asked.size(), 4U);
    EXPECT_EQ(asked.front(), HeaderReceiver::kFirstRequest);
    ASSERT_TRUE(receiver.is_done()) << receiver.error()->message;
    const auto header = receiver.header();
    EXPECT_TRUE(std::ranges::equal(header, std::span(file).first(header.size())));
  }
}

TEST(HeaderReceiver, StopsAServerThatSendsAll) {
  const Content file = model_with_header(3'000'000).bytes();
  for (const auto total : {std::optional<std::uint64_t>(file.size()), std::optional<std::uint64_t>()}) {
    HeaderReceiver receiver;
    receiver.begin_answer();
    std::size_t sent = 0;
    while (receiver.take(whole(total), std::span(file).subspan(sent, 1000))) sent += 1000;
    EXPECT_TRUE(receiver.is_done());
    EXPECT_LT(sent, 6'100'000U);
  }
}

TEST(HeaderReceiver, StartsAgainWhereTheServerDoes) {
  const Content file = model_with_header(3'000'000).bytes();
  HeaderReceiver receiver;
  receiver.begin_answer();
  receiver.take(part(0, file.size()), std::span(file).first(1'500'000));
  ASSERT_FALSE(receiver.is_done());
  receiver.begin_answer();
  EXPECT_FALSE(receiver.take(whole(file.size()), file));
  EXPECT_TRUE(receiver.is_done());
}

TEST(HeaderReceiver, RefusesAPartThatItDidNotAskFor) {
  const Content file = model_with_header(3'000'000).bytes();
  for (const std::optional<std::uint64_t> first : {std::optional<std::uint64_t>(5), {}}) {
    HeaderReceiver receiver;
    receiver.begin_answer();
    Answer answer = part(0, file.size());
    answer.first = first;
    EXPECT_FALSE(receiver.take(answer, file));
    ASSERT_TRUE(receiver.error());
    EXPECT_THAT(receiver.error()->message, HasSubstr("another part of the file"));
  }
}

TEST(HeaderReceiver, RefusesAFileThatChanged) {
  const Content file = model_with_header(3'000'000).bytes();
  HeaderReceiver receiver;
  receiver.begin_answer();
  receiver.take(part(0, file.size()), std::span(file).first(1'000'000));
  receiver.begin_answer();
  EXPECT_FALSE(receiver.take(part(1'000'000, file.size() + 1), std::span(file).subspan(1'000'000)));
  EXPECT_THAT(receiver.error()->message, HasSubstr("changed"));
}

TEST(HeaderReceiver, RefusesWhatIsNoModel) {
  const auto refused = [](const Content& file, bool tells_size) {
    HeaderReceiver receiver;
    serve(receiver, file, tells_size);
    return receiver.error() ? receiver.error()->message : "accepted";
  };
  const auto page = std::as_bytes(std::span("<!DOCTYPE html>", 15));
  const Content cut = [] {
    Content bytes = model_with_header(3'000'000).bytes();
    bytes.resize(2'000'000);
    return bytes;
  }();
  for (const bool tells_size : {true, false}) {
    EXPECT_THAT(refused({page.begin(), page.end()}, tells_size), HasSubstr("this is a web page"));
    EXPECT_THAT(refused(cut, tells_size), HasSubstr("the file ends inside"));
    EXPECT_THAT(refused({}, tells_size), HasSubstr("the file is empty"));
  }
  EXPECT_THAT(refused(small_model().header(), true), HasSubstr("holds no weights, only a header"));
}

TEST(HeaderReceiver, NeverWantsMoreThanTheLargestHeader) {
  TestFile file = small_model();
  file.entry("a", model::testing::ByteList().put(std::int32_t{GGUF_TYPE_STRING}).put(std::uint64_t{1} << 40));
  HeaderReceiver receiver;
  receiver.begin_answer();
  EXPECT_TRUE(receiver.take(whole(std::uint64_t{1} << 41), file.header()));
  Content rest(HeaderReceiver::kFirstRequest);
  EXPECT_FALSE(receiver.take(whole(std::uint64_t{1} << 41), rest));
  ASSERT_TRUE(receiver.error());
  EXPECT_EQ(receiver.error()->code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace brimful::hub

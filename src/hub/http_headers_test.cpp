#include "hub/http_headers.h"

#include <gtest/gtest.h>

namespace brimful::hub {
namespace {

TEST(ContentRange, TellsTheRangeAndTheSize) {
  const auto range = parse_content_range("bytes 100-1023/68719476736");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 100U);
  EXPECT_EQ(range->last, 1023U);
  EXPECT_EQ(range->total, 68719476736U);
  const auto unknown = parse_content_range(" bytes 0-9/* ");
  ASSERT_TRUE(unknown);
  EXPECT_EQ(unknown->last, 9U);
  EXPECT_FALSE(unknown->total);
}

TEST(ContentRange, IsNothingInAnotherForm) {
  for (const char* bad : {"", "bytes", "bytes */1000", "items 0-9/10", "bytes 9-0/10", "bytes 0-9/5",
                          "bytes 0-9", "bytes 0-9/x", "bytes -5/10", "bytes 0-99999999999999999999/*"}) {
    EXPECT_FALSE(parse_content_range(bad)) << bad;
  }
}

TEST(NextPage, IsTheAddressOfRelNext) {
  EXPECT_EQ(next_page("<https://h/a?cursor=b,c>; rel=\"next\""), "https://h/a?cursor=b,c");
  EXPECT_EQ(next_page("<https://h/1>; rel=\"first\", <https://h/2>; rel=\"next\""), "https://h/2");
  EXPECT_EQ(next_page("<https://h/1>; rel=\"first\""), "");
  EXPECT_EQ(next_page("nonsense"), "");
  EXPECT_EQ(next_page(""), "");
}

TEST(Status, IsTheNumberOfTheLine) {
  EXPECT_EQ(parse_status("HTTP/1.1 206 Partial Content"), 206);
  EXPECT_EQ(parse_status("HTTP/2 404 "), 404);
  EXPECT_EQ(parse_status("HTTP/1.1"), 0);
}

TEST(PercentEncoded, KeepsWhatAPathIsMadeOf) {
  EXPECT_EQ(percent_encoded("a/b-c_D.9~"), "a/b-c_D.9~");
  EXPECT_EQ(percent_encoded("a b?#%\xC3\xA9"), "a%20b%3F%23%25%C3%A9");
}

TEST(Shown, HidesLoginsAndQueries) {
  EXPECT_EQ(shown("https://me:secret@host:80/a@b/c.gguf?sig=1#x"), "https://host:80/a@b/c.gguf");
  EXPECT_EQ(shown("https://host"), "https://host");
  EXPECT_EQ(shown("a\nb"), "a?b");
}

}  // namespace
}  // namespace brimful::hub

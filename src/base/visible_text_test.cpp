#include "base/visible_text.h"

#include <gtest/gtest.h>

namespace brimful {
namespace {

TEST(VisibleText, LeavesOrdinaryTextAlone) {
  EXPECT_EQ(visible_text("plain, Grüße, 漢字, \xf0\x9f\x98\x80"), "plain, Grüße, 漢字, \xf0\x9f\x98\x80");
}

TEST(VisibleText, ShowsControlCharactersAsSymbols) {
  EXPECT_EQ(visible_text("\x1b[31m"), "␛[31m");
  EXPECT_EQ(visible_text(std::string_view("\0\x7f", 2)), "␀␡");
  EXPECT_EQ(visible_text("a\nb"), "a␊b");
  EXPECT_EQ(visible_text("\xc2\x9b"
                         "31m"),
            "\xef\xbf\xbd"
            "31m");  // U+009B begins a sequence as ESC [ does
}

TEST(VisibleText, ShowsMarksThatTurnTheDirectionAsSymbols) {
  EXPECT_EQ(visible_text("a\xe2\x80\xae"
                         "b"),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(visible_text("a\xe2\x81\xa6"
                         "b"),
            "a\xef\xbf\xbd"
            "b");
}

TEST(VisibleText, ShowsBytesThatAreNoUtf8AsSymbols) {
  EXPECT_EQ(visible_text("a\x9b"
                         "b"),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(visible_text("a\xe2\x80"), "a\xef\xbf\xbd");
  EXPECT_EQ(visible_text("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(VisibleText, KeepsLinesWhereTextIsReadInLines) { EXPECT_EQ(visible_lines("a\n\tb\r"), "a\n\tb␍"); }

TEST(VisibleStream, WaitsForTheRestOfACharacter) {
  VisibleStream stream;
  EXPECT_EQ(stream.add("a\xe2\x80"), "a");
  EXPECT_EQ(stream.add("\xae"
                       "b"),
            "\xef\xbf\xbd"
            "b");
  EXPECT_EQ(stream.add("\xc3"), "");
  EXPECT_EQ(stream.add("\xbc"), "ü");
  EXPECT_EQ(stream.add("\xc3"), "");
  EXPECT_EQ(stream.rest(), "\xef\xbf\xbd");
  EXPECT_EQ(stream.rest(), "");
}

}  // namespace
}  // namespace brimful

#include "cli/key_decoder.h"

#include <gtest/gtest.h>

namespace brimful::cli {
namespace {

constexpr std::size_t kAmple = 1 << 20;

/// Decodes `bytes` in pieces of `piece` bytes, and returns all characters. A paste is shown as <TEXT>.
std::wstring decoded(std::string_view bytes, std::size_t piece) {
  KeyDecoder decoder(kAmple);
  std::wstring out;
  while (!bytes.empty()) {
    decoder.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (const auto character = decoder.next()) {
      out +=
          *character == KeyDecoder::kPaste ? L"<" + decoder.take_paste() + L">" : std::wstring(1, *character);
    }
  }
  EXPECT_FALSE(decoder.lost());
  return out;
}

TEST(KeyDecoder, TakesCharactersApartWhateverPiecesTheyComeIn) {
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 4096U}) {
    EXPECT_EQ(decoded("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\n", piece), L"aä€😀\n") << piece;
    EXPECT_EQ(decoded("\033[A\033OB\033[2~x", piece), L"\033[A\033OB\033[2~x") << piece << ": keys pass";
  }
}

TEST(KeyDecoder, MakesAPasteOneCharacterWithItsLines) {
  for (const std::size_t piece : {1U, 2U, 5U, 9U, 4096U}) {
    EXPECT_EQ(decoded("a\033[200~one\rtwo\r\nthree\nfour\033[201~b\r", piece), L"a<one\ntwo\nthree\nfour>b\r")
        << piece;
    EXPECT_EQ(decoded("\033[200~one\033[201~\033[200~two\033[201~", piece), L"<one><two>") << piece;
    EXPECT_EQ(decoded("\033[200~\033[201~x", piece), L"<>x") << piece;
  }
}

TEST(KeyDecoder, KeepsControlCharactersOutOfAPaste) {
  EXPECT_EQ(decoded("\033[200~a\tb\033[31mc\x03\x7F\xC2\x9B\033[201~", 4096), L"<a\tb[31mc>");
}

TEST(KeyDecoder, MendsWhatIsNoUtf8) {
  EXPECT_EQ(decoded("a\xFF\xC3(\xED\xA0\x80z", 1), L"a\uFFFD\uFFFD(\uFFFD\uFFFD\uFFFDz");
  EXPECT_EQ(decoded("\033[200~\xE2\x82\033[201~", 4096), L"<\uFFFD>");
}

TEST(KeyDecoder, HoldsNoMoreThanItsLimit) {
  KeyDecoder decoder(100);
  decoder.feed("\033[200~");
  for (int i = 0; i < 1000; ++i) {
    decoder.feed("0123456789");
    EXPECT_EQ(decoder.next(), std::nullopt);
  }
  decoder.feed("\033[20");
  decoder.feed("1~!");
  EXPECT_EQ(decoder.next(), KeyDecoder::kPaste);
  EXPECT_LE(decoder.take_paste().size(), 100U);
  EXPECT_EQ(decoder.next(), L'!');
  EXPECT_TRUE(decoder.lost());
  EXPECT_FALSE(decoder.lost()) << "it was said once";

  decoder.feed(std::string(200, 'x'));
  std::size_t count = 0;
  while (decoder.next()) ++count;
  EXPECT_EQ(count, 100U);
  EXPECT_TRUE(decoder.lost());
}

TEST(ToUtf8, WritesWhatWasDecoded) {
  EXPECT_EQ(to_utf8(L"aä€😀\n"), "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\n");
  EXPECT_EQ(to_utf8(std::wstring(1, static_cast<wchar_t>(0xD800))), "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace brimful::cli

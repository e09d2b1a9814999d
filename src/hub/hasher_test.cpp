#include "hub/hasher.h"

#include <gtest/gtest.h>

#include <string_view>

namespace brimful::hub {
namespace {

std::string hash(std::string_view text, Hasher::Kind kind) {
  auto hasher = Hasher::start(kind);
  if (!hasher) return hasher.error().message;
  const auto bytes = std::as_bytes(std::span(text));
  hasher->add(bytes.first(bytes.size() / 2));
  const Hasher half = hasher->copy();
  hasher->add(bytes.subspan(bytes.size() / 2));
  EXPECT_NE(half.hex(), hasher->hex());
  return hasher->hex();
}

TEST(Hasher, HasTheValuesOfTheStandard) {
  EXPECT_EQ(hash("abc", Hasher::Kind::kSha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abc", Hasher::Kind::kSha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

}  // namespace
}  // namespace brimful::hub

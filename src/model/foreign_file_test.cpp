#include "model/foreign_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace brimful::model {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

std::string kind_of(const std::string& text) {
  return std::string(foreign_file(std::as_bytes(std::span(text))));
}

TEST(ForeignFile, NamesWhatPeopleTakeForAModel) {
  EXPECT_THAT(kind_of("version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 3825807040\n"),
              HasSubstr("git-lfs pointer"));
  EXPECT_THAT(kind_of("<!DOCTYPE html>\n<html class=\"\">"), HasSubstr("web page"));
  EXPECT_THAT(kind_of("\xEF\xBB\xBF\r\n  <HTML><body>"), HasSubstr("web page"));
  EXPECT_THAT(kind_of("\x58\x02\0\0\0\0\0\0{\"__metadata__\":{}}"s), HasSubstr("safetensors"));
  EXPECT_THAT(kind_of("PK\x03\x04\0\0"s), HasSubstr("PyTorch"));
  EXPECT_THAT(kind_of("\x80\x02}q"), HasSubstr("PyTorch"));
  EXPECT_THAT(kind_of("lmgg\0\0"s), HasSubstr("before August 2023"));
  EXPECT_THAT(kind_of("tjgg\x03\0"s), HasSubstr("before August 2023"));
  EXPECT_THAT(kind_of("\x1F\x8B\x08"), HasSubstr("unpack"));
  EXPECT_THAT(kind_of("{\"error\":\"Repository not found\"}"), HasSubstr("JSON"));
  EXPECT_THAT(kind_of(std::string(512, '\0')), HasSubstr("begins with zeros"));
}

TEST(ForeignFile, KeepsSilentAboutAModelAndAboutOtherBytes) {
  EXPECT_EQ(kind_of("GGUF\x03\0\0\0"s), "");
  EXPECT_EQ(kind_of(""), "");
  EXPECT_EQ(kind_of("Entry not found"), "");
  EXPECT_EQ(kind_of("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{"), "") << "no header of safetensors is that long";
  EXPECT_EQ(kind_of("\0\0"s), "") << "too short to tell";
}

}  // namespace
}  // namespace brimful::model

#include "serve/form_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace brimful::serve {
namespace {

using testing::HasSubstr;

struct Form {
  std::map<std::string, std::string> content;
  std::map<std::string, std::string> filenames;
  bool is_complete = false;
  Status status;
};

/// Reads `body` in pieces of `size` bytes.
Form read(std::string_view body, std::size_t size, const std::string& boundary = "b") {
  Form out;
  FormData form(boundary, [&](const FormData::Part& part, std::string_view bytes) -> Status {
    out.content[part.name] += bytes;
    out.filenames[part.name] = part.filename.value_or("none");
    return {};
  });
  for (std::size_t at = 0; at < body.size() && out.status; at += size)
    out.status = form.take(body.substr(at, size));
  out.is_complete = form.is_complete();
  return out;
}

const std::string kField = "Content-Disposition: form-data; name=";

TEST(FormDataTest, PiecesOfAnySizeGiveTheSameParts) {
  const std::string tricky = "\r\n--\r\n--c\r\n-\r\n\r--b\r\n--";
  const std::string body =
      "preamble\r\n--b\r\n" + kField + "\"purpose\"\r\n\r\nbatch\r\n--b \r\ncontent-type: x/y\r\n" +
      "CONTENT-disposition: form-data; filename=\"a \\\"b\\\".jsonl\"; name=file\r\n\r\n" + tricky +
      "\r\n--b\r\n\r\nno name\r\n--b--\r\nepilogue --b\r\n";
  for (std::size_t size = 1; size <= body.size(); ++size) {
    const Form form = read(body, size);
    ASSERT_TRUE(form.status) << form.status.error().message;
    EXPECT_TRUE(form.is_complete) << size;
    EXPECT_EQ(form.content,
              (std::map<std::string, std::string>{{"purpose", "batch"}, {"file", tricky}, {"", "no name"}}));
    EXPECT_EQ(form.filenames.at("file"), "a \"b\".jsonl");
    EXPECT_EQ(form.filenames.at("purpose"), "none");
  }
}

TEST(FormDataTest, ABoundaryAtTheVeryBeginningIsOne) {
  EXPECT_EQ(read("--b\r\n" + kField + "x\r\n\r\n\r\n--b--", 3).content,
            (std::map<std::string, std::string>{{"x", ""}}));
  EXPECT_TRUE(read("--b--", 100).is_complete);
  EXPECT_FALSE(read("--b\r\n" + kField + "x\r\n\r\nhalf", 100).is_complete);
}

TEST(FormDataTest, WhatIsNoFormIsRefusedBeforeItIsLong) {
  EXPECT_FALSE(read("--bx\r\n", 100).status);
  EXPECT_FALSE(read("--b" + std::string(10'000, ' '), 100).status);
  EXPECT_THAT(read("--b\r\n" + std::string(10'000, 'x'), 100).status.error().message, HasSubstr("too long"));
  std::string many;
  for (int i = 0; i < 100; ++i) many += "--b\r\n\r\n\r\n\r\n";
  EXPECT_THAT(read(many, 1000).status.error().message, HasSubstr("too many parts"));
}

TEST(FormDataTest, ParametersAreFoundQuotedOrNot) {
  EXPECT_EQ(parameter_of("multipart/form-data; boundary=abc", "boundary"), "abc");
  EXPECT_EQ(parameter_of("multipart/form-data;charset=x ; Boundary=\"a;b\\\"c\"; z=1", "boundary"), "a;b\"c");
  EXPECT_EQ(parameter_of("x; filename=\"boundary=no\"", "boundary"), std::nullopt);
  EXPECT_EQ(parameter_of("x; boundary", "boundary"), std::nullopt);
  EXPECT_EQ(parameter_of("boundary=x", "boundary"), std::nullopt);
  EXPECT_EQ(parameter_of("x; boundary=\"open", "boundary"), "open");
}

}  // namespace
}  // namespace brimful::serve

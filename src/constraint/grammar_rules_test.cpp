#include "constraint/grammar_rules.h"

#include <gtest/gtest.h>

#include <string>

#include "bombs.h"

namespace brimful::constraint {
namespace {

using tests::chain;

std::string error_of(const std::string& text) {
  const Status read = check_grammar(text, nullptr, {kMiB * 16, std::chrono::seconds(20)});
  return read ? "" : read.error().message;
}

TEST(GrammarRules, AreTakenWhereTheyAreSound) {
  EXPECT_EQ(error_of("root ::= \"a\" [a-z]* # a comment with (\n"), "");
  EXPECT_EQ(error_of("# first a comment\n\nroot ::= item (\",\" item)*\nitem ::= [0-9]{1,3}"), "");
  EXPECT_EQ(error_of("root ::= \"a{3,1}\" [{3,1}]"), "");
  EXPECT_EQ(error_of(chain(100, "\"(\" $ \")\" | $", "\"x\"")), "");
}

TEST(GrammarRules, AreRefusedWithTheirReason) {
  EXPECT_EQ(error_of("root ::= \"a\"{3,1}"), "a repetition {3,1} has its maximum below its minimum");
  EXPECT_EQ(error_of("root ::= \"a\"{ 3 , 1 }"), "a repetition {3,1} has its maximum below its minimum");
  // In a group, a repetition may continue over several lines and comments. A comment ends at \r or at
  // .
  for (const char* const text :
       {"root ::= (\"a\"{3\n,1})", "root ::= (\"a\"{3,\r\n1})", "root ::= (\"a\"{ # {\n3,1})",
        "# x\rroot ::= \"a\"{3,1}", "root ::= <\"> \"a\"{3,1} <\">"})
    EXPECT_EQ(error_of(text), "a repetition {3,1} has its maximum below its minimum") << text;
  EXPECT_EQ(error_of("other ::= \"a\""), "it has no rule named root");
  EXPECT_EQ(error_of("root ::= nobody"), "the rule nobody is used but not defined");
  EXPECT_EQ(error_of("%llguidance {}"), "it is not GBNF: %llguidance is not supported");
  EXPECT_EQ(error_of(std::string("root ::= \"a\0\"", 13)), "it contains a NUL byte");
  EXPECT_EQ(error_of("root ::= " + std::string(600, '(')), "is nested more than 500 levels deep");
  EXPECT_NE(error_of("root ::= \"a"), "");
  EXPECT_NE(error_of(""), "");
}

TEST(GrammarRules, AreRefusedWhereTheyBeginWithThemselves) {
  const std::string reason = "it has a left recursion: a rule begins with itself";
  EXPECT_EQ(error_of("root ::= root \"a\" | \"b\""), reason);
  EXPECT_EQ(error_of("root ::= a root \"x\" | \"y\"\na ::= \"z\" | "), reason);
  EXPECT_EQ(error_of("root ::= a\na ::= b \"x\"\nb ::= a | \"y\""), reason);
}

// llama.cpp's grammars of tool calls repeat rules that may be empty.
TEST(GrammarRules, MayRepeatWhatMayBeEmpty) {
  EXPECT_EQ(error_of("root ::= space*\nspace ::= [ ]* \"\\n\"?"), "");
  EXPECT_EQ(error_of("root ::= ([a-z]* \"x\"?)* \"end\""), "");
}

TEST(GrammarRules, AreRefusedWhereLlamaCppWouldVisitThemForEver) {
  EXPECT_NE(error_of(chain(60, "$ | $", "\"x\"")), "");
  EXPECT_NE(error_of(chain(15'000, "$", "\"x\"")), "");
}

TEST(GrammarRules, ErrorsAreOneShortLineThatSteersNoTerminal) {
  const std::string error = error_of("root ::= ] \x1b[31m\n" + std::string(5000, 'x'));
  EXPECT_LT(error.size(), 120U);
  EXPECT_EQ(error.find('\n'), std::string::npos);
  EXPECT_EQ(error.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace brimful::constraint

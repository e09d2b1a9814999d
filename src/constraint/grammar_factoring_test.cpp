#include "constraint/grammar_factoring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "constraint/grammar_rules.h"
#include "grammar_acceptance.h"

namespace brimful::constraint {
namespace {

using tests::accepts;

TEST(GrammarFactoring, KeepsTheLanguage) {
  const std::string grammar =
      "root ::= \"a\" | \"ab\" | \"abc\" | \"abd\" | [x-z] \"1\" | [x-z] \"2\" | [x-z]* \"3\" | \"\" | item "
      "| item \"!\" "
      "| \"ab\"\nitem ::= \"q\" | \"qq\"";
  const std::vector<std::string> texts{"",   "a", "ab", "abc", "abd", "abe", "x1", "y2", "z3", "xyz3",
                                       "x4", "q", "qq", "q!",  "qq!", "q!!", "b",  "x",  "3",  "abab"};
  int taken = 0;
  for (const std::string& text : texts) {
    EXPECT_EQ(accepts(grammar, text, true), accepts(grammar, text, false)) << text;
    taken += accepts(grammar, text, true) ? 1 : 0;
  }
  EXPECT_EQ(taken, 14);
}

TEST(GrammarFactoring, LeavesFewPlacesOpenInALongList) {
  std::string grammar = "root ::= \"value 0\"";
  for (int i = 1; i < 3000; ++i) grammar += " | \"value " + std::to_string(i) + "\"";
  llama_grammar_parser parser = parse_grammar(grammar, nullptr);
  factor_rules(parser.rules);
  std::vector<const llama_grammar_element*> rules = parser.c_rules();
  llama_grammar* const state =
      llama_grammar_init_impl(nullptr, rules.data(), rules.size(), parser.symbol_ids.at("root"));
  EXPECT_EQ(llama_grammar_get_stacks(state).size(), 1U);
  for (const char c : std::string("value 2")) llama_grammar_accept(state, static_cast<unsigned char>(c));
  EXPECT_LE(llama_grammar_get_stacks(state).size(), 11U);
  llama_grammar_free_impl(state);
}

TEST(GrammarFactoring, LeavesShortRulesAsTheyAre) {
  llama_grammar_parser parser = parse_grammar("root ::= \"ab\" | \"ac\"", nullptr);
  const std::size_t before = parser.rules.size();
  factor_rules(parser.rules);
  EXPECT_EQ(parser.rules.size(), before);
}

}  // namespace
}  // namespace brimful::constraint

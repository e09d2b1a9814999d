#pragma once

#include <string>
#include <vector>

namespace brimful::tests {

inline std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

/// Makes a GBNF grammar with a chain of rules `r0`, `r1` and so on. Each rule is `body` with the name of the
/// next rule in place of `$`; the last rule is `last`.
inline std::string chain(int rules, const std::string& body, const std::string& last) {
  std::string out = "root ::= r0\n";
  for (int i = 0; i < rules; ++i) {
    std::string rule = i + 1 == rules ? last : body;
    const std::string next = "r" + std::to_string(i + 1);
    for (std::size_t at = rule.find('$'); at != std::string::npos; at = rule.find('$', at + next.size()))
      rule.replace(at, 1, next);
    out += "r" + std::to_string(i) + " ::= " + rule + "\n";
  }
  return out;
}

/// A text that makes a library which reads it take all memory, run for ever or crash.
struct Bomb {
  std::string name;
  std::string text;
};

/// Bombs in GBNF, the language of llama.cpp's grammars.
inline std::vector<Bomb> grammar_bombs() {
  return {
      {"maximum below minimum", R"(root ::= "a"{3,1})"},
      {"maximum below minimum, on another line", "root ::= (\"a\"{3\n,1})"},
      {"maximum below minimum, behind a comment", "root ::= (\"a\"{ # {\n3,1})"},
      {"maximum below minimum, behind the end of a comment", "# x\rroot ::= \"a\"{3,1}"},
      {"rules that may be empty, twice each", chain(20, "$ | $ $", R"("x" | "")")},
      {"rules that begin with the next, twice each", chain(60, "$ | $", R"("x")")},
      {"optional characters at the beginning", "root ::= " + repeated("[a-z ]? ", 400)},
      {"optional characters later", R"(root ::= [^x]? )" + repeated("[^x]? ", 400)},
      {"left recursion", R"(root ::= root "a" | "b")"},
      {"left recursion through an empty rule", "root ::= a root \"x\" | \"y\"\na ::= b\nb ::= \"z\" | \"\""},
      {"another library's grammar", "%llguidance {}\nstart: \"a\""},
      {"nested groups", "root ::= " + std::string(60'000, '(') + "\"a\"" + std::string(60'000, ')')},
      {"a long chain of rules", chain(15'000, "$", R"("x")")},
      {"a rule that is missing", "root ::= nobody"},
      {"no root", R"(other ::= "a")"},
      {"a text that is no grammar", "\x1b[31m ::= ]]]"},
      {"a string without an end", "root ::= \"abc"},
      {"a character that no token has", R"(root ::= "\x00")"},
      {"a repetition beyond all numbers", R"(root ::= "a"{99999999999999999999999})"},
      {"repetitions of repetitions", R"(root ::= ((("a"{1000}){1000}){1000}){1000})"},
  };
}

/// Bombs that are JSON schemas.
inline std::vector<Bomb> schema_bombs() {
  const std::string string_of = R"({"type":"string","pattern":")";
  return {
      {"items", R"({"type":"array","minItems":5,"maxItems":2,"items":{"type":"string"}})"},
      {"length", R"({"type":"string","minLength":9,"maxLength":2})"},
      {"numbers", R"({"type":"integer","minimum":9,"maximum":2})"},
      {"a pattern's repetition", string_of + R"(^a{3,1}$"})"},
      {"a pattern's open group", string_of + R"(^(a$"})"},
      {"a pattern's open class", string_of + R"(^[a$"})"},
      {"a pattern of a property that has a keyword's name",
       R"({"type":"object","properties":{"enum":)" + string_of + R"(^a{3,1}$"}}})"},
      {"a pattern of anything", string_of + "^" + repeated(".*", 100) + R"($"})"},
      {"a pattern of optional things", string_of + "^" + repeated("[a-z]?", 300) + R"($"})"},
      {"a reference to itself", R"({"$ref":"#"})"},
      {"references in a circle",
       R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})"},
  };
}

}  // namespace brimful::tests

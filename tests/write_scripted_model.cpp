// Writes a scripted model. Usage: write_scripted_model FOLDER < SCRIPT, where SCRIPT is a JSON object with
// the fields of tests::Script. Prints the path of the file.

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "scripted_model.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto given = nlohmann::json::parse(std::cin);
  using Texts = std::vector<std::string>;
  brimful::tests::Script script{.tokens = given.at("tokens").get<Texts>(),
                                .control = given.value("control", Texts()),
                                .chat_template = given.value("chat_template", ""),
                                .trained_context = given.value("trained_context", 512U)};
  const nlohmann::json others = given.value("others", nlohmann::json::object());
  for (const auto& [after, tokens] : others.items()) script.others.push_back({after, tokens.get<Texts>()});
  std::puts(brimful::tests::write_scripted_model(argv[1], script).c_str());
  return 0;
}

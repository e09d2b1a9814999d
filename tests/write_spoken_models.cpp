// Writes scripted models with a chat template. Each gives one kind of answer in the form of the template.
// Usage: write_spoken_models FOLDER TEMPLATE. Prints JSON: for each kind the `model`, its `text`, and
// whether the template renders the text (`is_rendered`); null for a kind that the template does not know.

#include <chat.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "scripted_model.h"
#include "spoken_chunks.h"
#include "spoken_text.h"

namespace {

using brimful::tests::Spoken;
using What = Spoken::What;

struct Kind {
  const char* name;
  Spoken spoken;
};
constexpr Kind kKinds[] = {{"content", {}},
                           {"thinks", {.thinks = true}},
                           {"calls", {.what = What::kCall}},
                           {"thinks_calls", {.what = What::kCall, .thinks = true}},
                           {"json", {.what = What::kJson}},
                           {"thinks_json", {.what = What::kJson, .thinks = true}}};

/// Returns the control tokens of a vocabulary for this template: texts in it like `<|this|>`, also with wide
/// bars. llama.cpp knows some of them, such as the ends of turns.
std::vector<std::string> named_tokens(const std::string& source) {
  static const std::regex name(R"(<\|[A-Za-z_]+\|>|<｜[^<>{}'"]+｜>)");
  std::set<std::string> out;
  for (std::sregex_iterator at(source.begin(), source.end(), name); at != std::sregex_iterator(); ++at)
    out.insert(at->str());
  return {out.begin(), out.end()};
}

/// The texts that the template writes for the question, with and without the tool.
struct Questions {
  std::vector<std::string> prompts;
  std::set<std::string> marks;  // The marks in its answers.
};

Questions questions(const common_chat_templates* templates) {
  Questions out;
  for (const bool with_tool : {false, true}) {
    const common_chat_params chat =
        common_chat_templates_apply(templates, brimful::tests::spoken_question(with_tool));
    out.prompts.push_back(chat.prompt);
    out.marks.insert(chat.preserved_tokens.begin(), chat.preserved_tokens.end());
  }
  return out;
}

nlohmann::json write(const std::filesystem::path& folder, const std::string& source,
                     const common_chat_templates* templates, const Kind& kind) {
  std::optional<brimful::tests::SpokenText> text;
  try {
    text = brimful::tests::spoken_text(templates, kind.spoken);
  } catch (const std::exception&) {
    return nullptr;  // The template refuses such a conversation.
  }
  if (!text) return nullptr;
  Questions asked = questions(templates);
  const auto named = named_tokens(source);
  asked.marks.insert(named.begin(), named.end());
  const auto chunks =
      brimful::tests::spoken_chunks(text->text, {asked.marks.begin(), asked.marks.end()}, asked.prompts);
  std::vector<std::string> control = chunks.control;
  std::ranges::copy(named, std::back_inserter(control));
  const std::filesystem::path place = folder / kind.name;
  std::filesystem::create_directories(place);
  const auto path = brimful::tests::write_scripted_model(
      place,
      {.tokens = chunks.tokens, .control = control, .chat_template = source, .trained_context = 1U << 15});
  return {{"model", path.string()}, {"text", text->text}, {"is_rendered", text->is_rendered}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::ifstream in(argv[2]);
  std::ostringstream source;
  source << in.rdbuf();
  if (!in) return 2;
  const auto templates = common_chat_templates_init(nullptr, source.str(), "<s>", "</s>");
  nlohmann::json out = nlohmann::json::object();
  for (const Kind& kind : kKinds) out[kind.name] = write(argv[1], source.str(), templates.get(), kind);
  std::puts(out.dump(1).c_str());
  return 0;
}

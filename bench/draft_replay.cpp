// brimful-draft-replay: how many tokens a pass would give on a known text, drafted from what stands before
// it. The text is the model's answer by assumption; the machine is the three numbers that are given.
// Everything else is what `brimful run` does: the same tokens, the same drafts, the same choice of their
// length.

#include <common.h>
#include <fmt/format.h>
#include <llama.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/drafts/speculation.h"
#include "engine/llama_log.h"

namespace {

using brimful::engine::Speculation;
using Tokens = std::vector<llama_token>;

/// Seconds: what a pass waits for the disk, what one token computes, and the share that each more adds.
struct Machine {
  double disk = 1;
  double compute = 0.1;
  double share = 0.5;

  [[nodiscard]] double computes(std::size_t n) const {
    return compute * (1 + share * (static_cast<double>(n) - 1));
  }
  [[nodiscard]] double seconds(std::size_t n) const { return std::max(disk, computes(n)); }
};

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw CLI::ValidationError(path, "cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

nlohmann::ordered_json replay(Speculation& speculation, const Machine& machine, Tokens known,
                              const Tokens& answer) {
  std::size_t passes = 0;
  std::size_t drafted = 0;
  std::size_t accepted = 0;
  double seconds = 0;
  speculation.begin();
  std::size_t at = 0;
  while (at + 1 < answer.size()) {
    const llama_token last = answer[at];
    const Tokens draft = speculation.draft(known, last, answer.size() - at - 2).value_or(Tokens{});
    const std::size_t n = draft.size() + 1;
    speculation.pass_took(n, machine.seconds(n), machine.seconds(n) - machine.computes(n));
    seconds += machine.seconds(n);
    ++passes;
    drafted += draft.size();
    known.push_back(last);
    speculation.wrote(answer[++at]);
    for (std::size_t i = 0; i < draft.size() && draft[i] == answer[at]; ++i) {
      known.push_back(answer[at]);
      speculation.wrote(answer[++at]);
      ++accepted;
    }
  }
  const auto tokens = static_cast<double>(answer.size() - 1);
  return {{"tokens", answer.size()},
          {"passes", passes},
          {"drafted", drafted},
          {"accepted", accepted},
          {"tokens_per_pass", tokens / static_cast<double>(passes)},
          {"speedup", machine.seconds(1) * tokens / seconds}};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Replays a text against the drafts that its prompt would have given.", "brimful-draft-replay");
  std::string model, before, after;
  Machine machine;
  std::size_t longest = 15;
  app.add_option("-m,--model", model, "GGUF file: only its tokenizer is used")->required();
  app.add_option("-f,--file", before, "the prompt")->required();
  app.add_option("--answer", after, "the text that follows it")->required();
  app.add_option("--disk", machine.disk, "seconds that a pass waits for the disk");
  app.add_option("--compute", machine.compute, "seconds that one token computes");
  app.add_option("--share", machine.share, "of these, what each more token adds");
  app.add_option("--spec-draft-n-max", longest, "most tokens of a draft");
  CLI11_PARSE(app, argc, argv);

  brimful::engine::capture_llama_logs();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  llama_model* const loaded = llama_model_load_from_file(model.c_str(), params);
  if (loaded == nullptr) {
    fmt::print(stderr, "brimful-draft-replay: {}: cannot be loaded\n", model);
    return 1;
  }
  try {
    const llama_vocab* const vocab = llama_model_get_vocab(loaded);
    Speculation speculation({.longest = longest, .ngrams = true});
    const auto result = replay(speculation, machine, common_tokenize(vocab, read(before), true),
                               common_tokenize(vocab, read(after), false));
    fmt::print("{}\n", result.dump());
  } catch (const CLI::Error& error) {
    fmt::print(stderr, "brimful-draft-replay: {}\n", error.what());
    return 1;
  }
  llama_model_free(loaded);
  return 0;
}

#include "cli/tokenize.h"

#include <common.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/standard_output.h"
#include "base/visible_text.h"
#include "cli/exit_code.h"
#include "cli/flag_names.h"
#include "cli/model_choice.h"
#include "engine/engine.h"
#include "engine/tokenize.h"

namespace brimful::cli {
namespace {

struct TokenizeOptions {
  RunOptions run;  // the model; no other flag of it is offered
  std::optional<std::string> text;
  std::optional<std::string> file;
  bool standard_input = false;
  bool ids = false;
  bool count = false;
  bool no_bos = false;
  bool no_parse_special = false;
  bool no_escape = false;
  bool json = false;
};

Result<std::string> read_text(const TokenizeOptions& options) {
  const int sources = (options.text ? 1 : 0) + (options.file ? 1 : 0) + (options.standard_input ? 1 : 0);
  if (sources != 1)
    return fail(ErrorCode::kInvalidArgument,
                "give one text: behind the model or with -p, with -f FILE, or with --stdin");
  std::ostringstream text;
  if (options.text) {
    text << *options.text;
  } else if (options.file && *options.file != "-") {
    std::error_code error;
    std::ifstream in(*options.file, std::ios::binary);
    if (!in || std::filesystem::is_directory(*options.file, error))
      return fail(ErrorCode::kNotFound,
                  fmt::format("{}: the text cannot be read: check the path", *options.file));
    text << in.rdbuf();
  } else {
    text << std::cin.rdbuf();
  }
  std::string out = text.str();
  if (!options.no_escape) string_process_escapes(out);
  return out;
}

/// One token for people: its number, and its text in quotes.
std::string shown(llama_token token, const std::string& piece, bool terminal) {
  return fmt::format("{:6} -> '{}'\n", token, terminal ? visible_lines(piece) : piece);
}

Status run_tokenize(const TokenizeOptions& options) {
  BRIMFUL_TRY(const std::string text, read_text(options));
  engine::OpenOptions open{.model = options.run.model, .names = flag_names()};
  open.weights = model::Weights::kMayBeMissing;
  open.claims_memory = false;
  BRIMFUL_TRY(const auto engine, engine::Engine::open(std::move(open)));
  const llama_vocab* const vocab = engine->vocab();
  if (llama_vocab_n_tokens(vocab) == 0)
    return fail(ErrorCode::kUnsupported, fmt::format("{}: it has no vocabulary", options.run.model));
  const bool special = llama_vocab_get_add_bos(vocab) && !options.no_bos;
  BRIMFUL_TRY(const std::vector<llama_token> tokens,
              engine::tokenize(vocab, text, special, !options.no_parse_special));
  const auto piece = [&](llama_token token) { return common_token_to_piece(vocab, token); };
  if (options.json) {
    nlohmann::ordered_json json;
    json["count"] = tokens.size();
    json["ids"] = tokens;
    if (!options.ids) {
      json["pieces"] = nlohmann::ordered_json::array();
      for (const llama_token token : tokens) json["pieces"].push_back(piece(token));
    }
    return write_standard_output(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  std::string out = options.ids ? fmt::format("[{}]\n", fmt::join(tokens, ", ")) : "";
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  for (std::size_t i = 0; !options.ids && i < tokens.size(); ++i)
    out += shown(tokens[i], piece(tokens[i]), terminal);
  if (options.count) out += fmt::format("Total number of tokens: {}\n", tokens.size());
  return write_standard_output(out);
}

}  // namespace

void add_tokenize_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("tokenize", "show how a model cuts a text into tokens");
  const auto options = std::make_shared<TokenizeOptions>();
  command->add_option("-m,--model,model", options->run.model,
                      "GGUF file (of a split model: the first part), or the name of a model in the cache");
  command->add_option("-p,--prompt,text", options->text, "text");
  command->add_option("-f,--file", options->file, "file with the text ('-': standard input)");
  command->add_flag("--stdin", options->standard_input, "read the text from standard input");
  command->add_flag("--ids", options->ids, "only the numbers of the tokens, as [1, 2, 3]");
  command->add_flag("--show-count", options->count, "also the number of tokens");
  command->add_flag("--no-bos", options->no_bos, "without the token that begins a text");
  command->add_flag("--no-parse-special", options->no_parse_special,
                    "names of special tokens in the text are plain text");
  command->add_flag("--no-escape", options->no_escape, "\\n and the like in the text are plain text");
  command->add_flag("--json", options->json, "as JSON: count, ids, and pieces (without --ids)");
  command->callback([options, &exit_code] {
    if (options->run.model.empty()) throw CLI::RequiredError("-m FILE");
    const Status chosen = choose_model(options->run);
    exit_code = report(chosen ? run_tokenize(*options) : chosen);
  });
}

}  // namespace brimful::cli

#include "cli/show.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/standard_output.h"
#include "base/visible_text.h"
#include "cli/exit_code.h"
#include "cli/model_listing.h"
#include "hub/model_source.h"

namespace brimful::cli {
namespace {

constexpr std::size_t kElementsForPeople = 6;
constexpr std::size_t kElementsInJson = 64;

struct Options {
  std::string model;
  std::string hub;
  bool json = false;
};

/// Returns the whole text to show.
Result<std::string> listing(const Options& options) {
  BRIMFUL_TRY(const hub::LocalModel local, hub::locate({options.model, options.hub}));
  const auto weights = local.header_only() ? model::Weights::kMayBeMissing : model::Weights::kRequired;
  BRIMFUL_TRY(const model::ModelProfile profile, model::read_model(local.path, weights));
  BRIMFUL_TRY(const std::vector<model::MetadataEntry> entries,
              model::read_metadata(profile, options.json ? kElementsInJson : kElementsForPeople));
  if (options.json) return json_text(model_json(profile, entries), 2) + '\n';
  return model_text(profile, entries);
}

int run(const Options& options) {
  const Result<std::string> text = listing(options);
  // Anybody can choose the names in a model's file, so they must not control a terminal. A pipe gets them
  // unchanged.
  const bool on_terminal = ::isatty(STDOUT_FILENO) != 0;
  if (text) return report(write_standard_output(on_terminal ? visible_lines(*text) : *text));
  if (options.json) {
    const nlohmann::json json{
        {"error", {{"code", to_string(text.error().code)}, {"message", text.error().message}}}};
    (void)report(write_standard_output(json_text(json) + '\n'));
  }
  return report(std::unexpected(text.error()));
}

}  // namespace

void add_show_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("show", "show what a model contains: size, quantisation, tensors, metadata");
  command->add_option("-m,--model,MODEL", options->model,
                      "GGUF file (of a split model: the first part), the name of a model in the cache, or an "
                      "https:// address, of which only the header is read");
  command->add_option(
      "--hf,--hf-repo", options->hub,
      "model on the Hugging Face Hub: ORGANISATION/REPOSITORY[:QUANTISATION]; only the header "
      "is read");
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options, &exit_code] {
    if (options->model.empty() && options->hub.empty()) throw CLI::RequiredError("-m FILE or -hf NAME");
    exit_code = run(*options);
  });
}

}  // namespace brimful::cli

#include "cli/synth.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "engine/engine.h"
#include "engine/quantisation_mix.h"
#include "hub/temporary_folder.h"
#include "synth/synth.h"

namespace brimful::cli {
namespace {

struct SynthArguments {
  synth::SynthOptions options;
  std::filesystem::path output;
  bool header_only = false;
  bool force = false;
};

Result<std::vector<std::filesystem::path>> write(const synth::SynthModel& design,
                                                 const SynthArguments& arguments) {
  if (arguments.header_only) return synth::write_synth_headers(design, arguments.output, arguments.force);
  ProgressBar bar("writing " + arguments.output.filename().string(), design.bytes());
  return synth::write_synth(design, arguments.output, arguments.force, [&](Bytes done) { bar.update(done); });
}

/// Returns the mix with that name in llama.cpp's quantiser, in upper or lower case; null when there is none.
/// A name that is also a type of ggml, such as Q8_0, means the type.
const engine::QuantisationMix* mix_called(const std::string& name) {
  const auto& mixes = engine::all_quantisation_mixes();
  const auto found = std::ranges::find_if(mixes, [&](const engine::QuantisationMix& mix) {
    return CLI::detail::to_lower(std::string(mix.name)) == CLI::detail::to_lower(name);
  });
  return found != mixes.end() && !synth::find_synth_type(name) ? &*found : nullptr;
}

/// Gives each tensor the type that llama.cpp's quantiser gives it in the mix. libllama computes that and
/// needs a model for it: the header of this model without its weights.
Status apply_mix(const engine::QuantisationMix& mix, synth::SynthOptions& options) {
  options.type = "F16";
  options.mix = mix.name;
  synth::SynthOptions plain = options;
  plain.around.reset();
  plain.splits = 1;
  if (options.around) plain.tokenizer_from = options.around;
  BRIMFUL_TRY(const synth::SynthModel design, synth::design_synth(plain));
  BRIMFUL_TRY(const hub::TemporaryFolder folder, hub::TemporaryFolder::make());
  BRIMFUL_TRY(const auto headers, synth::write_synth_headers(design, folder.path() / "header.gguf", false));
  engine::OpenOptions open{.model = headers.front()};
  open.weights = model::Weights::kMayBeMissing;
  BRIMFUL_TRY(const auto engine, engine::Engine::open(std::move(open)));
  const std::vector<ggml_type> types = engine::types_in_mix(*engine->model(), engine->profile(), mix);
  if (types.empty()) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("--type {}: llama.cpp's quantiser does not know the architecture "
                            "of {}; give a type such as Q4_K",
                            mix.name, options.like));
  }
  for (std::size_t i = 0; i < types.size(); ++i) options.types[engine->profile().tensors[i].name] = types[i];
  return {};
}

Status run_synth(SynthArguments arguments) {
  if (const engine::QuantisationMix* const mix = mix_called(arguments.options.type))
    BRIMFUL_TRY_VOID(apply_mix(*mix, arguments.options));
  BRIMFUL_TRY(const synth::SynthModel design, synth::design_synth(arguments.options));
  BRIMFUL_TRY(const std::vector<std::filesystem::path> paths, write(design, arguments));
  const std::string size = arguments.header_only
                               ? fmt::format("{} of {}, without weights", format_bytes(design.header_bytes()),
                                             format_bytes(design.bytes()))
                               : format_bytes(design.bytes());
  return write_standard_output(
      fmt::format("wrote {}: {} tensors in {}, {}\n", arguments.output.string(), design.tensors.size(),
                  paths.size() == 1 ? "one file" : fmt::format("{} files", paths.size()), size));
}

std::string shape_names() {
  std::string names;
  for (const synth::SynthShape& shape : synth::synth_shapes()) {
    names += names.empty() ? "" : ", ";
    names += shape.name;
  }
  return names;
}

}  // namespace

void add_synth_command(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("synth", "Write a made-up model: random weights in a known shape");
  const auto arguments = std::make_shared<SynthArguments>();
  synth::SynthOptions& options = arguments->options;
  command->add_option("--like", options.like, "Shape: " + shape_names())->capture_default_str();
  command
      ->add_option("--type", options.type,
                   "Weight type by ggml's name, such as Q4_K, or mix by llama.cpp's, such as Q4_K_M")
      ->capture_default_str();
  command->add_option("-o,--output", arguments->output, "File to write")->required();
  command->add_option("--layers", options.layers, "Layers, in place of the shape's");
  command->add_option("--vocab", options.vocabulary, "Tokens in the vocabulary, in place of the shape's");
  command->add_option("--context", options.context, "Context length, in place of the shape's");
  command->add_flag("--tied,!--untied", options.tied,
                    "The token embedding is the output matrix too, or is not");
  command
      ->add_option("--alignment", options.alignment, "Alignment of tensors in bytes, a power of two from 32")
      ->capture_default_str();
  command->add_option("--splits", options.splits, "Write so many files, NAME-00001-of-0000N.gguf")
      ->capture_default_str();
  command
      ->add_option(
          "--router", options.router,
          "Which experts a mixture of experts chooses: uniform (all as often) or skewed (few, mostly)")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Another seed gives other weights")->capture_default_str();
  command->add_option("--tokenizer-from", options.tokenizer_from, "Copy the tokenizer of this GGUF file");
  command->add_option(
      "--around", options.around,
      "Put this trained F32 model into the core: the large one does what it does, with noise");
  command->add_option("--noise", options.noise, "How large the random weights around a core are")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 10.0));
  command->add_option("--chat-template", options.chat_template, "Chat template to store (none)");
  command->add_flag("--header-only", arguments->header_only,
                    "Leave the weights out: enough to plan with, and a few MB");
  command->add_flag("--force", arguments->force, "Replace a file that exists");
  command->callback([arguments, &exit_code] { exit_code = report(run_synth(*arguments)); });
}

}  // namespace brimful::cli

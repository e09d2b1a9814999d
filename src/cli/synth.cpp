#include "cli/synth.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/counted.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/flag_names.h"
#include "engine/engine.h"
#include "engine/quantisation_mix.h"
#include "hub/temporary_folder.h"
#include "synth/synth.h"

namespace brimful::cli {
namespace {

struct SynthArguments {
  synth::SynthOptions options;
  synth::SynthText text;  // used when its period is set
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
  engine::OpenOptions open{.model = headers.front(), .names = flag_names()};
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
  if (arguments.text.period > 0) arguments.options.text = arguments.text;
  if (const engine::QuantisationMix* const mix = mix_called(arguments.options.type))
    BRIMFUL_TRY_VOID(apply_mix(*mix, arguments.options));
  BRIMFUL_TRY(const synth::SynthModel design, synth::design_synth(arguments.options));
  BRIMFUL_TRY(const std::vector<std::filesystem::path> paths, write(design, arguments));
  const std::string size = arguments.header_only
                               ? fmt::format("{} of {}, without weights", format_bytes(design.header_bytes()),
                                             format_bytes(design.bytes()))
                               : format_bytes(design.bytes());
  return write_standard_output(fmt::format("wrote {}: {} tensors in {}, {}\n", arguments.output.string(),
                                           design.tensors.size(), counted(paths.size(), "file"), size));
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
  CLI::App* command =
      app.add_subcommand("synth", "write a synthetic model: random weights in the shape of a known model");
  const auto arguments = std::make_shared<SynthArguments>();
  synth::SynthOptions& options = arguments->options;
  command->add_option("--like", options.like, "shape of the model: " + shape_names())->capture_default_str();
  command
      ->add_option("--type", options.type,
                   "type of the weights: a ggml type, such as Q4_K, or a llama.cpp mix, such as Q4_K_M")
      ->capture_default_str();
  command->add_option("-o,--output", arguments->output, "GGUF file to write")->required();
  command->add_option("--layers", options.layers, "number of layers (default: that of the shape)");
  command->add_option("--vocab", options.vocabulary,
                      "number of tokens in the vocabulary (default: that of the shape)");
  command->add_option("--context", options.context, "context length in tokens (default: that of the shape)");
  command->add_flag(
      "--tied,!--untied", options.tied,
      "use the token embedding as the output matrix too, or do not (default: as the shape does)");
  command
      ->add_option("--alignment", options.alignment, "alignment of tensors in bytes, a power of two from 32")
      ->capture_default_str();
  command->add_option("--splits", options.splits, "number of files to write: NAME-00001-of-0000N.gguf")
      ->capture_default_str();
  command
      ->add_option("--router", options.router,
                   "how often experts are chosen, in a mixture of experts: uniform (all equally often) or "
                   "skewed (mostly the same few)")
      ->capture_default_str();
  command
      ->add_option("--carry", options.carry,
                   "how loud a token's embedding is in a mixture of experts: with more, layers change its "
                   "state less, and the next layer's experts are easier to guess")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 100.0));
  command->add_option("--seed", options.seed, "seed of the random weights")->capture_default_str();
  command->add_option("--tokenizer-from", options.tokenizer_from, "GGUF file to copy the tokenizer from");
  command->add_option("--around", options.around,
                      "trained F32 model to build the large one around: both give about the same output");
  command->add_option("--noise", options.noise, "size of the random weights that --around adds")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 10.0));
  CLI::Option* const period = command->add_option(
      "--text-period", arguments->text.period,
      "each token is followed by a fixed one, and a text repeats after so many tokens: the layers cost what "
      "they cost, but change nothing");
  command
      ->add_option("--text-errors", arguments->text.errors,
                   "share of the tokens, 0 to 1, that another one follows: for draft models")
      ->capture_default_str()
      ->needs(period)
      ->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--head-errors", arguments->text.head_errors,
                   "share of the tokens, 0 to 1, after which the model's layers that predict further tokens "
                   "are wrong about the text")
      ->capture_default_str()
      ->needs(period)
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--chat-template", options.chat_template, "chat template to store (default: none)");
  command->add_flag("--header-only", arguments->header_only,
                    "write only the header, a few MB: enough for brimful plan");
  command->add_flag("--force", arguments->force, "replace an existing file");
  command->callback([arguments, &exit_code] { exit_code = report(run_synth(*arguments)); });
}

}  // namespace brimful::cli

#include "cli/split.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/counted.h"
#include "base/progress.h"
#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "model/split_files.h"

namespace brimful::cli {
namespace {

struct SplitOptions {
  std::string input;
  std::string output;
  std::optional<std::string> most_bytes;
  std::optional<std::uint32_t> most_tensors;
  bool no_tensors_in_first = false;
  bool dry_run = false;
  bool force = false;
};

constexpr std::uint32_t kUsualTensors = 128;  // llama-gguf-split's

/// A size as llama-gguf-split reads it: there, M and G are powers of ten.
Result<Bytes> parse_limit(const std::string& text) {
  const bool decimal = text.ends_with('M') || text.ends_with('G');
  auto size = parse_bytes(decimal ? text + "B" : text);
  if (size && size->value > 0) return *size;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--split-max-size {}: give a size such as 300M, 2G (powers of ten) or 2GiB", text));
}

Status run_split(const SplitOptions& options) {
  model::SplitLimits limits{.no_tensors_in_first = options.no_tensors_in_first};
  if (options.most_bytes && options.most_tensors)
    return fail(ErrorCode::kInvalidArgument, "--split-max-size and --split-max-tensors: give one of both");
  if (options.most_tensors == 0U)
    return fail(ErrorCode::kInvalidArgument, "--split-max-tensors 0: a part needs at least one tensor");
  if (options.most_bytes) {
    BRIMFUL_TRY(limits.bytes, parse_limit(*options.most_bytes));
  } else {
    limits.tensors = options.most_tensors.value_or(kUsualTensors);
  }
  std::optional<ProgressBar> bar;
  BRIMFUL_TRY(const auto parts, model::split_file(options.input, options.output, limits, !options.dry_run,
                                                  options.force, [&](Bytes done, Bytes total) {
                                                    if (!bar) bar.emplace("writing", total);
                                                    bar->update(done);
                                                    return true;
                                                  }));
  bar.reset();
  std::string out;
  for (const model::SplitPart& part : parts)
    out += fmt::format("{}{}: {}, {}\n", options.dry_run ? "" : "wrote ", part.path.string(),
                       counted(part.tensors, "tensor"), format_bytes(part.bytes));
  return write_standard_output(out);
}

Status run_merge(const SplitOptions& options) {
  std::optional<ProgressBar> bar;
  BRIMFUL_TRY(const std::size_t parts,
              model::merge_files(options.input, options.output, options.force, [&](Bytes done, Bytes total) {
                if (!bar) bar.emplace("writing", total);
                bar->update(done);
                return true;
              }));
  bar.reset();
  return write_standard_output(fmt::format("wrote {} from {}\n", options.output, counted(parts, "part")));
}

}  // namespace

void add_split_commands(CLI::App& app, int& exit_code) {
  const auto split = std::make_shared<SplitOptions>();
  auto* command = app.add_subcommand("split", "cut a GGUF file into parts");
  command->add_option("input", split->input, "GGUF file")->required();
  command->add_option("output", split->output, "name of the parts, before -00001-of-0000N.gguf")->required();
  command->add_option("--split-max-size", split->most_bytes,
                      "most bytes of tensors in a part, such as 2G or 300M");
  command->add_option("--split-max-tensors", split->most_tensors, "most tensors in a part (default: 128)");
  command->add_flag("--no-tensor-first-split", split->no_tensors_in_first,
                    "the first part has only the keys");
  command->add_flag("--dry-run", split->dry_run, "only say which parts there would be");
  command->add_flag("--force", split->force, "replace existing files");
  command->callback([split, &exit_code] { exit_code = report(run_split(*split)); });

  const auto merge = std::make_shared<SplitOptions>();
  command = app.add_subcommand("merge", "join the parts of a GGUF file");
  command->add_option("input", merge->input, "the first part: NAME-00001-of-0000N.gguf")->required();
  command->add_option("output", merge->output, "GGUF file to write")->required();
  command->add_flag("--force", merge->force, "replace an existing file");
  command->callback([merge, &exit_code] { exit_code = report(run_merge(*merge)); });
}

}  // namespace brimful::cli

#pragma once

#include <CLI/CLI.hpp>

namespace brimful::cli {

/// Adds `brimful quantize`, which makes a smaller model of a model: with llama.cpp's mixes, or with types
/// that are chosen for budgets. The command's callback writes the exit code to `exit_code`. Lifetime:
/// `exit_code` must outlive the parsing.
void add_quantize_command(CLI::App& app, int& exit_code);

}  // namespace brimful::cli

#include "cli/arguments.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string_view>

#include "base/suggest.h"

namespace brimful::cli {
namespace {

constexpr std::array<std::string_view, 11> kFlagsWithOneDash{"-ub", "-tb",  "-fa", "-ctk", "-ctv", "-md",
                                                             "-hf", "-ngl", "-ot", "-pg",  "-np"};

/// A flag whose value may be left out, at the end and before another flag. What stands behind it and is no
/// flag is its value.
constexpr std::string_view kFlagWithoutValue = "--vram";
constexpr std::string_view kValueLeftOut = "auto";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool has_letters_behind_one_dash(std::string_view argument) {
  return argument.size() > 2 && argument[0] == '-' && is_letter(argument[1]) && is_letter(argument[2]);
}

bool takes_a_value(const CLI::App& command, const std::string& flag) {
  const CLI::Option* const option = command.get_option_no_throw(flag);
  return option != nullptr && option->get_items_expected_min() > 0;
}

/// Returns all flags of the command as people write them.
std::vector<std::string> flags_of(const CLI::App& command) {
  std::vector<std::string> out;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_snames()) out.push_back('-' + name);
    for (const std::string& name : option->get_lnames())
      out.push_back(is_flag_with_one_dash('-' + name) ? '-' + name : "--" + name);
  }
  return out;
}

std::unexpected<Error> unknown_flag(const CLI::App& command, std::string_view flag) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("there is no flag '{}'{}", flag, suggestion(flag, flags_of(command))));
}

bool is_number(std::string_view text) {
  const std::size_t digits = text.find_first_not_of("-.");
  return digits != std::string_view::npos && text[digits] >= '0' && text[digits] <= '9';
}

/// Returns the name of the flag in an argument: `-t` for `-t` and `-t4`, `--ram` for `--ram=1GiB`.
std::string name_of(const std::string& argument) {
  if (argument.starts_with("--")) return argument.substr(0, argument.find('='));
  return argument.substr(0, 2);
}

}  // namespace

bool is_flag_with_one_dash(std::string_view flag) {
  return std::ranges::find(kFlagsWithOneDash, flag) != kFlagsWithOneDash.end();
}

Result<std::vector<std::string>> parser_arguments(const CLI::App& command, std::span<char* const> arguments) {
  std::vector<std::string> out;
  bool is_value = false;
  bool flags_end = false;  // Set after an argument `--`.
  const auto may_be_left_out = [&] { return is_value && out.back() == kFlagWithoutValue; };
  for (std::string argument : arguments) {
    if (may_be_left_out() && argument.size() > 1 && argument[0] == '-' && !is_number(argument)) {
      out.emplace_back(kValueLeftOut);
      is_value = false;
    }
    if (may_be_left_out() && argument.ends_with(".gguf")) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{0} {1}: is no size: name the model before {0}, or write {0} {2}",
                              kFlagWithoutValue, argument, kValueLeftOut));
    }
    if (!is_value && !flags_end && argument.size() > 1 && argument[0] == '-') {
      flags_end = argument == "--";
      const std::string given = argument;
      if (has_letters_behind_one_dash(argument)) {
        const std::string flag = argument.substr(0, argument.find('='));
        if (!is_flag_with_one_dash(flag)) return unknown_flag(command, flag);
        argument.insert(0, "-");
      }
      const bool known = command.get_option_no_throw(name_of(argument)) != nullptr;
      if (!flags_end && !known && !is_number(argument))
        return unknown_flag(command, given.substr(0, given.find('=')));
    }
    is_value = !is_value && takes_a_value(command, argument);
    out.push_back(std::move(argument));
  }
  if (may_be_left_out()) out.emplace_back(kValueLeftOut);
  std::ranges::reverse(out);
  return out;
}

}  // namespace brimful::cli

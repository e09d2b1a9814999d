#include "cli/arguments.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string_view>

namespace strata::cli {
namespace {

constexpr std::array<std::string_view, 9> kFlagsWithOneDash{"-ub", "-tb", "-fa",  "-ctk", "-ctv",
                                                            "-md", "-hf", "-ngl", "-ot"};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool has_letters_behind_one_dash(std::string_view argument) {
  return argument.size() > 2 && argument[0] == '-' && is_letter(argument[1]) && is_letter(argument[2]);
}

bool takes_a_value(const CLI::App& command, const std::string& flag) {
  const CLI::Option* const option = command.get_option_no_throw(flag);
  return option != nullptr && option->get_items_expected_min() > 0;
}

std::unexpected<Error> unknown_flag(std::string_view flag) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("there is no flag '{}'", flag));
}

}  // namespace

Result<std::vector<std::string>> parser_arguments(const CLI::App& command, std::span<char* const> arguments) {
  std::vector<std::string> out;
  bool is_value = false;
  for (std::string argument : arguments) {
    if (!is_value && has_letters_behind_one_dash(argument)) {
      const std::string flag = argument.substr(0, argument.find('='));
      if (std::ranges::find(kFlagsWithOneDash, flag) == kFlagsWithOneDash.end()) return unknown_flag(flag);
      argument.insert(0, "-");
      if (command.get_option_no_throw(argument.substr(0, argument.find('='))) == nullptr)
        return unknown_flag(flag);
    }
    is_value = !is_value && takes_a_value(command, argument);
    out.push_back(std::move(argument));
  }
  std::ranges::reverse(out);
  return out;
}

}  // namespace strata::cli

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace brimful::cli {

/// Writes `text` in lines of at most `width` columns. Every line after the first one begins with `indent`
/// spaces. A word that is longer than a line stays whole.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t indent, std::size_t width);

/// Columns of the terminal on standard output; else $COLUMNS; else 80. At least 40 and at most 120: longer
/// lines are hard to read.
[[nodiscard]] std::size_t help_width();

/// CLI11's help, in lines that fit the terminal. Flags of llama.cpp with several letters behind one dash are
/// shown that way.
class HelpFormatter : public CLI::Formatter {
 public:
  explicit HelpFormatter(std::size_t width) : width_(width) {}

  [[nodiscard]] std::string make_help(const CLI::App* app, std::string name,
                                      CLI::AppFormatMode mode) const override;
  [[nodiscard]] std::string make_option(const CLI::Option* option, bool is_positional) const override;
  [[nodiscard]] std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
  [[nodiscard]] std::string make_subcommand(const CLI::App* command) const override;
  [[nodiscard]] std::string make_description(const CLI::App* app) const override;

 private:
  [[nodiscard]] std::string row(std::string_view left, std::string_view right) const;

  const std::size_t width_;
};

/// Puts the commands of `app` into groups, and gives the help its examples. Call it after every command was
/// added.
void arrange_help(CLI::App& app);

/// Help for `topic`, or for the whole program where `topic` is empty. `found` is false where there is no such
/// command: the text is then one line that says so and names the nearest command.
struct HelpText {
  std::string text;
  bool found = true;
};
[[nodiscard]] HelpText help_on(const CLI::App& app, const std::string& topic);

/// `message; see 'COMMAND'`, for messages that may end with a question.
[[nodiscard]] std::string with_help(std::string message, std::string_view command);

/// The names of the commands.
[[nodiscard]] std::vector<std::string> command_names(const CLI::App& app);

}  // namespace brimful::cli

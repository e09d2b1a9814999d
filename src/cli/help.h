#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace brimful::cli {

/// Breaks `text` into lines of at most `width` columns. Every line after the first one begins with `indent`
/// spaces. A word that is longer than a line is not broken.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t indent, std::size_t width);

/// The width of help texts in columns: that of the terminal on standard output, else $COLUMNS, else 80. It
/// is at least 40 and at most 120, because longer lines are hard to read.
[[nodiscard]] std::size_t help_width();

/// Formats CLI11's help in lines that fit the terminal. llama.cpp's flags with several letters behind one
/// dash are shown with one dash.
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

/// Puts the commands of `app` into groups, and adds examples to their help. Call it after all commands were
/// added.
void arrange_help(CLI::App& app);

/// A help text.
struct HelpText {
  std::string text;
  /// False when there is no such command: `text` is then one line that says so and names the nearest
  /// command.
  bool found = true;
};
/// Returns the help for the command `topic`, or for the whole program when `topic` is empty.
[[nodiscard]] HelpText help_on(const CLI::App& app, const std::string& topic);

/// Returns `message; see 'COMMAND'`. A message that ends with a question mark gets no semicolon.
[[nodiscard]] std::string with_help(std::string message, std::string_view command);

/// The names of all commands of `app`.
[[nodiscard]] std::vector<std::string> command_names(const CLI::App& app);

}  // namespace brimful::cli

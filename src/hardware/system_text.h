#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

/// Functions for texts as the kernel writes them under /proc and /sys.
namespace brimful::hardware {

/// Reads a whole file. Returns nullopt when it cannot be opened.
[[nodiscard]] std::optional<std::string> read_text(const std::filesystem::path& path);

/// Removes the first line from `text` and returns it without its newline.
std::string_view next_line(std::string_view& text);

/// Removes the first word from `line` and returns it. White space separates words. Returns an empty word at
/// the end.
std::string_view next_word(std::string_view& line);

/// Returns `text` without the white space around it.
[[nodiscard]] std::string_view trim(std::string_view text);

/// Parses the decimal number at the beginning of `text`, after spaces and tabs; any text may follow. Returns
/// nullopt when there is none.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

}  // namespace brimful::hardware

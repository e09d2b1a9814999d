#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

/// Texts as the kernel writes them under /proc and /sys.
namespace brimful::hardware {

/// The whole file; nothing where it cannot be opened.
[[nodiscard]] std::optional<std::string> read_text(const std::filesystem::path& path);

/// Takes the first line off `text`, without its newline.
std::string_view next_line(std::string_view& text);

/// Takes the first word off `line`; words stand between spaces and tabs. Empty at the end.
std::string_view next_word(std::string_view& line);

/// Without white space around it.
[[nodiscard]] std::string_view trim(std::string_view text);

/// The decimal number that `text` begins with, after spaces.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

}  // namespace brimful::hardware

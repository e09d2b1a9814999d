#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/suggest.h"
#include "hub/http_headers.h"
#include "hub/repository.h"
#include "model/gguf_reader.h"
#include "model/split_names.h"

namespace brimful::hub {
namespace {

constexpr std::string_view kDefault = "Q4_K_M";
// The beginnings of the quantisations that are taken where there is no Q4_K_M, the best first: 4 bits are the
// usual compromise of size and quality, and of more bits, fewer are downloaded sooner.
constexpr std::array<std::string_view, 9> kNextBest{"Q4_", "IQ4_", "MXFP4", "NVFP4", "Q5_K",
                                                    "Q5_", "Q6_K", "Q8_",   "Q3_"};
constexpr std::size_t kMostListed = 40;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter_or_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_in_word(char c) { return is_letter_or_digit(c) || c == '_'; }

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }
std::string_view folder(std::string_view path) { return path.substr(0, path.rfind('/') + 1); }

/// Returns whether `text` contains the quantisation, and not only as a part of another one: Q4_K is not in
/// Q4_K_M, and Q4_XS is not in IQ4_XS.
bool has(std::string_view text, std::string_view quantisation) {
  const std::string in = upper(text);
  const std::string what = upper(quantisation);
  for (std::size_t at = in.find(what); at != std::string::npos; at = in.find(what, at + 1)) {
    const std::size_t end = at + what.size();
    if ((at == 0 || !is_letter_or_digit(in[at - 1])) && (end == in.size() || !is_in_word(in[end])))
      return true;
  }
  return false;
}

/// Returns whether a word in capitals is the name of a quantisation, such as Q4_K_M, IQ2_XXS, TQ1_0, BF16 or
/// MXFP4.
bool is_quantisation(std::string_view text) {
  for (const std::string_view exact : {"BF16", "F16", "F32", "FP16", "FP32"}) {
    if (text == exact) return true;
  }
  for (const std::string_view start : {"Q", "IQ", "TQ", "MXFP", "NVFP", "FP"}) {
    if (text.starts_with(start) && text.size() > start.size() && is_digit(text[start.size()])) return true;
  }
  return false;
}

/// Returns the last quantisation in the text, because the name of the model comes before it. Empty when
/// there is none.
std::string last_quantisation(std::string_view text) {
  const std::string in = upper(text);
  std::string found;
  for (std::size_t at = 0; at < in.size(); ++at) {
    if (!is_letter_or_digit(in[at]) || (at > 0 && is_letter_or_digit(in[at - 1]))) continue;
    std::size_t end = at;
    while (end < in.size() && is_in_word(in[end])) ++end;
    const std::string word = in.substr(at, end - at);
    if (!is_quantisation(word)) continue;
    found = word;
    at = end - 1;
  }
  return found;
}

std::vector<std::string> names_of(std::span<const std::string> models) {
  std::vector<std::string> names;
  for (const std::string& path : models) {
    std::string name = quantisation_of(path);
    if (name.empty()) name = file_name(path);
    name = model::in_quotes(name);
    name = name.substr(1, name.size() - 2);
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  }
  return names;
}

std::string letters_and_digits(std::string_view text) {
  std::string out = upper(text);
  std::erase_if(out, [](char c) { return !is_letter_or_digit(c); });
  return out;
}

/// The end of a message: the name that is meant by `wanted`, such as Q4_K_M by `q4km`.
std::string meant(std::string_view wanted, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (letters_and_digits(name) == letters_and_digits(wanted)) return suggestion(name, names);
  }
  return suggestion(wanted, names);
}

std::string listed(std::vector<std::string> names) {
  const std::size_t more = names.size() > kMostListed ? names.size() - kMostListed : 0;
  names.resize(names.size() - more);
  return fmt::format("{}{}", fmt::join(names, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

}  // namespace

bool is_model_file(std::string_view path) {
  const std::string name = lower(file_name(path));
  if (!name.ends_with(".gguf") || lower(folder(path)).contains("mmproj")) return false;
  constexpr std::array<std::string_view, 6> kOthers{"mmproj",  "imatrix", "mtp-",
                                                    "eagle3-", "dflash-", "dspark-"};
  if (std::ranges::any_of(kOthers, [&](std::string_view other) { return name.contains(other); }))
    return false;
  const auto split = model::parse_split_name(std::string(path));
  return !split || split->part == 1;
}

std::string quantisation_of(std::string_view path) {
  const std::string in_name = last_quantisation(file_name(path));
  return in_name.empty() ? last_quantisation(folder(path)) : in_name;
}

Result<std::string> choose_file(std::span<const std::string> paths,
                                const std::optional<std::string>& quantisation) {
  std::vector<std::string> models;
  std::ranges::copy_if(paths, std::back_inserter(models), is_model_file);
  if (models.empty()) {
    return fail(ErrorCode::kNotFound, "it has no GGUF model: look for a repository whose name ends in -GGUF");
  }
  const std::string_view wanted = quantisation ? *quantisation : kDefault;
  if (lower(wanted).ends_with(".gguf")) {
    if (const auto it = std::ranges::find(models, wanted); it != models.end()) return *it;
    return fail(ErrorCode::kNotFound,
                fmt::format("it has no model file {}; it has: {}{}", model::in_quotes(wanted),
                            listed(names_of(models)), suggestion(wanted, models)));
  }
  const auto named = [&](const std::string& path) { return has(file_name(path), wanted); };
  const auto in_folder = [&](const std::string& path) { return has(folder(path), wanted); };
  if (const auto it = std::ranges::find_if(models, named); it != models.end()) return *it;
  if (const auto it = std::ranges::find_if(models, in_folder); it != models.end()) return *it;
  if (quantisation) {
    const std::vector<std::string> names = names_of(models);
    return fail(ErrorCode::kNotFound,
                fmt::format("it has no {}; it has: {}{}", model::in_quotes(*quantisation), listed(names),
                            meant(*quantisation, names)));
  }
  for (const std::string_view next : kNextBest) {
    const auto it = std::ranges::find_if(
        models, [&](const std::string& path) { return quantisation_of(path).starts_with(next); });
    if (it != models.end()) return *it;
  }
  return models.front();
}

std::string tag_of(std::span<const std::string> paths, const std::string& path) {
  const std::string quantisation = quantisation_of(path);
  const auto chosen =
      choose_file(paths, quantisation.empty() ? std::optional<std::string>() : std::optional(quantisation));
  return chosen && *chosen == path ? quantisation : path;
}

}  // namespace brimful::hub

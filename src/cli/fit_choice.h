#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace brimful::cli {

/// What the plan of a model says about a wish.
enum class FitVerdict {
  kNotPlanned,
  kGood,
  /// Larger than the budgets together, or its plan does not fit.
  kDoesNotFit,
  /// Its plan fits, and reads weights from the disk for each token, although no speed was asked for.
  kFromDisk,
  /// Its plan fits, and is slower than was asked for.
  kTooSlow,
  /// It cannot be planned, or is another model than the others of the repository.
  kOther,
};

/// One model of a repository.
struct FitRow {
  /// What stands after the colon of its name, or the file when nothing has to.
  std::string tag;
  std::string file;
  Bytes size;
  double bits_per_weight = 0;
  FitVerdict verdict = FitVerdict::kNotPlanned;
  /// Why it is kDoesNotFit or kOther, where that is not clear.
  std::string why;
  // What the plan says; unset when it was not planned, or does not fit.
  std::optional<Bytes> vram;
  std::optional<Bytes> ram;
  std::optional<Bytes> reads_per_token;
  /// Unset also when the machine was not measured.
  std::optional<double> tokens_per_s;
  std::optional<double> prompt_tokens_per_s;
};

/// Sorts models by quality, the best first: by bits for each weight. Types of 16 bits and more count as
/// equal, and then the smaller file comes first. Pure.
void sort_by_quality(std::vector<FitRow>& rows);

/// Draws rows as a table for people: the chosen one, those that were planned, and what is wrong with them.
/// Pure.
[[nodiscard]] std::string fit_table(const std::vector<FitRow>& rows, std::optional<std::size_t> chosen);

/// The same for programs (docs/plan-json.md). Pure.
[[nodiscard]] nlohmann::ordered_json fit_json(const std::vector<FitRow>& rows,
                                              std::optional<std::size_t> chosen);

/// The name of a verdict for programs.
[[nodiscard]] const char* to_string(FitVerdict verdict);

}  // namespace brimful::cli

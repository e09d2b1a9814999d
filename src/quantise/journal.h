#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/result.h"

namespace brimful::quantise {

/// A file of measurements, one JSON object a line, with which an interrupted search goes on. A line that was
/// torn by a kill is ignored.
class Journal {
 public:
  /// Opens the journal of the work `job`, and reads what is in it; one of another work is begun anew.
  /// Errors: kIo.
  [[nodiscard]] static Result<Journal> open(std::filesystem::path path, std::uint64_t job);

  /// The errors of the types of a tensor, by the types' names; nothing when they were not measured.
  [[nodiscard]] std::optional<std::map<std::string, double>> errors(const std::string& tensor) const;
  [[nodiscard]] Status note_errors(const std::string& tensor, const std::map<std::string, double>& errors);

  /// The divergence that was measured with the tensors from `first` to `last` changed.
  [[nodiscard]] std::optional<double> divergence(const std::string& first, const std::string& last) const;
  [[nodiscard]] Status note_divergence(const std::string& first, const std::string& last, double value);

 private:
  [[nodiscard]] Status append(const std::string& line) const;

  std::filesystem::path path_;
  std::map<std::string, std::map<std::string, double>> errors_;
  std::map<std::pair<std::string, std::string>, double> divergences_;
};

}  // namespace brimful::quantise

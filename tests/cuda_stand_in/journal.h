// The journal that a check reads: one JSON object a line, in the file PID.jsonl of the stand-in's folder.
// Each line is written at once, so that nothing is lost when ggml ends the process.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace stand_in {

/// Held by each function of CUDA while it runs: the stand-in has no threads of its own, and one lock for
/// everything.
std::recursive_mutex& all();
using Lock = std::lock_guard<std::recursive_mutex>;

/// A line that is being built; it is written when the object ends.
class Line {
 public:
  explicit Line(std::string_view what);
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;
  Line& with(std::string_view name, std::uint64_t value);
  Line& with(std::string_view name, std::string_view value);

 private:
  std::string text_;
};

/// Writes that a rule was broken. Of rules that are broken again and again in the same way, the first 20 are
/// written.
void broken(std::string_view rule, const std::string& how);

/// How many kernels and graphs were launched so far; each line has this number as `at`.
std::uint64_t& launches();

}  // namespace stand_in

#include "base/progress.h"

#include "base/standard_error.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace brimful {
namespace {

constexpr std::chrono::milliseconds kRedrawInterval{100};
constexpr const char* kWipeLine = "\r\033[K";

std::string format_left(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::round(seconds));
  if (whole < 120) return fmt::format("{} s left", whole);
  if (whole < 7200) return fmt::format("{} min left", whole / 60);
  return fmt::format("{} h left", whole / 3600);
}

}  // namespace

std::string progress_text(const std::string& label, Bytes done, Bytes total,
                          std::chrono::duration<double> elapsed, Bytes already) {
  const auto done_bytes = static_cast<double>(done.value);
  const auto total_bytes = static_cast<double>(std::max<std::uint64_t>(total.value, 1));
  const int percent = static_cast<int>(std::min(100.0, 100.0 * done_bytes / total_bytes));
  std::string text =
      fmt::format("{} {:3d}%  {} of {}", label, percent, format_bytes(done), format_bytes(total));

  const auto moved = static_cast<double>(saturating_sub(done, already).value);
  const double rate = elapsed.count() > 0 ? moved / elapsed.count() : 0.0;
  if (rate >= 1) {
    const double left = static_cast<double>(saturating_sub(total, done).value) / rate;
    text +=
        fmt::format("  {}/s  {}", format_bytes(Bytes{static_cast<std::uint64_t>(rate)}), format_left(left));
  }
  return text;
}

ProgressBar::ProgressBar(std::string label, Bytes total, Bytes already)
    : label_(std::move(label)),
      total_(total),
      already_(already),
      start_(Clock::now()),
      drawn_(start_),
      active_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() { finish(); }

void ProgressBar::update(Bytes done) {
  if (!active_) return;
  const auto now = Clock::now();
  if (now - drawn_ < kRedrawInterval) return;
  drawn_ = now;
  shown_ = true;
  tell("{}{}", kWipeLine, progress_text(label_, done, total_, now - start_, already_));
  std::fflush(stderr);
}

void ProgressBar::wipe() {
  if (shown_) {
    tell("{}", kWipeLine);
    std::fflush(stderr);
  }
  shown_ = false;
}

void ProgressBar::finish() {
  wipe();
  active_ = false;
}

}  // namespace brimful

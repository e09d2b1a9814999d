#include "hardware/processor_load.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "hardware/compute_threads.h"
#include "hardware/system_text.h"

namespace brimful::hardware {
namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double seconds_of(int who) {
  rusage used{};
  return ::getrusage(who, &used) == 0 ? seconds(used.ru_utime) + seconds(used.ru_stime) : 0;
}

}  // namespace

std::optional<std::uint64_t> parse_busy_ticks(std::string_view text,
                                              std::span<const std::uint32_t> processors) {
  // The line is `cpu3 USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL ..`. The time of guests is contained in
  // USER and NICE.
  constexpr bool kBusy[] = {true, true, true, false, false, true, true, true};
  std::uint64_t busy = 0;
  std::size_t found = 0;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    const std::string_view name = next_word(line);
    if (!name.starts_with("cpu")) break;  // The lines of processors come first.
    const auto number = parse_number(name.substr(3));
    if (!number || std::ranges::find(processors, *number) == processors.end()) continue;
    ++found;
    for (const bool counts : kBusy) {
      const auto ticks = parse_number(next_word(line));
      if (counts) busy += ticks.value_or(0);
    }
  }
  return found == processors.size() && found > 0 ? std::optional(busy) : std::nullopt;
}

ProcessorLoad::ProcessorLoad() : processors_(allowed_processors()), before_(read()) {}

ProcessorLoad::Account ProcessorLoad::read() const {
  Account out{.at = std::chrono::steady_clock::now(), .busy = {}};
  out.own = seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN);
  const auto text = read_text("/proc/stat");
  const auto ticks = text ? parse_busy_ticks(*text, processors_) : std::nullopt;
  if (ticks) out.busy = static_cast<double>(*ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return out;
}

std::optional<double> ProcessorLoad::of_others() {
  const Account now = read();
  const Account before = std::exchange(before_, now);
  const double passed = std::chrono::duration<double>(now.at - before.at).count();
  if (!now.busy || !before.busy || passed <= 0) return std::nullopt;
  const double others = (*now.busy - *before.busy) - (now.own - before.own);
  return std::clamp(others / passed, 0.0, static_cast<double>(processors_.size()));
}

bool is_loaded(double processors_of_others) {
  // The few percent of a daemon change no rate. Half of a core halves the speed of threads that wait for one
  // another.
  constexpr double kTooMuch = 0.15;
  return processors_of_others > kTooMuch;
}

}  // namespace brimful::hardware

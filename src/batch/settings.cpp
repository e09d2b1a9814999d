#include "batch/settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"

namespace brimful::batch {
namespace {

std::string text_of(const Setting& setting) {
  if (setting.value.empty()) return "not given";
  return setting.shown.empty() ? setting.value : setting.shown;
}

}  // namespace

std::string fingerprint(const Settings& settings) {
  Hash64 hash;
  for (const Setting& setting : settings) {
    if (setting.value.empty() || setting.name == kServedName) continue;
    hash.add(fmt::format("{}={}\n", setting.name, setting.value));
  }
  return fmt::format("fp_{:016x}", hash.value());
}

std::string difference(const Settings& before, const Settings& now) {
  std::string out;
  for (const Setting& setting : now) {
    const auto earlier = std::ranges::find(before, setting.name, &Setting::name);
    const Setting& was = earlier == before.end() ? Setting{setting.name, "", ""} : *earlier;
    if (was.value == setting.value) continue;
    out += fmt::format("{}{} was {} and is now {}", out.empty() ? "" : "; ", setting.name, text_of(was),
                       text_of(setting));
  }
  return out;
}

}  // namespace brimful::batch

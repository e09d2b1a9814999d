#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>

#include "synth/synth.h"
#include "temporary_directory.h"

namespace brimful::tests {

/// Writes a made-up model into the directory. Returns the path of its first file; empty when that failed.
inline std::filesystem::path synth_model(const TemporaryDirectory& directory,
                                         const synth::SynthOptions& options) {
  const auto design = synth::design_synth(options);
  if (!design) return {};
  const auto written = synth::write_synth(*design, directory.path() / "synth.gguf", true, nullptr);
  return written ? written->front() : std::filesystem::path();
}

/// Makes the name of a test from its parameter, a text: every character that is no letter or digit becomes
/// `_`.
inline std::string test_name(const testing::TestParamInfo<const char*>& test) {
  std::string name = test.param;
  std::ranges::replace_if(
      name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

}  // namespace brimful::tests

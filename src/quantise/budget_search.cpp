#include "quantise/budget_search.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "base/hash.h"
#include "quantise/kl_meter.h"
#include "quantise/source.h"
#include "quantise/weights_in_memory.h"

namespace brimful::quantise {
namespace {

/// Reads the calibration text. More than this is never needed: windows are spread over what is read.
constexpr std::size_t kMostText = 4 * 1024 * 1024;
constexpr int kHalvings = 24;

Result<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string out(kMostText, '\0');
  in.read(out.data(), static_cast<std::streamsize>(out.size()));
  out.resize(static_cast<std::size_t>(in.gcount()));
  if (in.bad() || !in.is_open() || out.empty())
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: the calibration text cannot be read, or is empty", path.string()));
  return out;
}

Result<std::unique_ptr<KlMeter>> ready_meter(const model::ModelProfile& profile, const SearchOptions& options,
                                             std::string& text) {
  const KlMeter::Sample sample{.windows = options.windows};
  std::optional<std::string> content;
  if (options.text) {
    BRIMFUL_TRY(content, read_text(*options.text));
  }
  BRIMFUL_TRY(std::unique_ptr<KlMeter> meter, KlMeter::load(profile, sample, options.threads));
  if (content) {
    const Status taken = meter->take_text(*content);
    if (!taken)
      return fail(taken.error().code, fmt::format("{}: {}", options.text->string(), taken.error().message));
  } else {
    BRIMFUL_TRY_VOID(meter->write_text());
  }
  text = fmt::format("{} {:016x}", content ? "given" : "written by the model", meter->text_hash());
  BRIMFUL_TRY_VOID(meter->measure_reference());
  return meter;
}

std::string hash_of(const Importance& importance) {
  Hash64 hash;
  add_columns(hash, importance);
  return fmt::format("{:016x}", hash.value());
}

}  // namespace

std::string_view to_string(Effort effort) {
  switch (effort) {
    case Effort::kAuto: return "auto";
    case Effort::kKl: return "kl";
    case Effort::kImportance: return "imatrix";
    case Effort::kWeights: return "weights";
  }
  return "";
}

Result<Measured> measure(const model::ModelProfile& profile, const Recipe& recipe,
                         const Importance* importance, const SearchOptions& options) {
  Measured out;
  out.effort = options.effort;
  const Bytes needed = KlMeter::memory_needed(profile, {.windows = options.windows});
  if (out.effort == Effort::kAuto) {
    out.effort = needed <= options.room  ? Effort::kKl
                 : importance != nullptr ? Effort::kImportance
                                         : Effort::kWeights;
    if (out.effort != Effort::kKl)
      out.notes.push_back(
          fmt::format("the divergence is not measured: that needs {} of memory, and the RAM "
                      "budget leaves {}",
                      format_bytes(needed), format_bytes(options.room)));
  }
  if (out.effort == Effort::kKl && needed > options.room)
    return fail(
        ErrorCode::kInfeasible,
        fmt::format("measuring the divergence needs {} of memory, and the RAM budget leaves {}: give it "
                    "more, or choose a smaller effort",
                    format_bytes(needed), format_bytes(options.room)));
  if (out.effort == Effort::kImportance && importance == nullptr)
    return fail(ErrorCode::kInvalidArgument, "this effort needs an importance matrix");
  std::unique_ptr<KlMeter> meter;
  if (out.effort == Effort::kKl) {
    Result<std::unique_ptr<KlMeter>> made = ready_meter(profile, options, out.text);
    if (made) {
      meter = std::move(*made);
    } else if (options.effort == Effort::kAuto && made.error().code == ErrorCode::kUnsupported) {
      out.notes.push_back(fmt::format("the divergence is not measured: {}", made.error().message));
      out.effort = importance != nullptr ? Effort::kImportance : Effort::kWeights;
    } else {
      return std::unexpected(std::move(made).error());
    }
  }
  if (importance != nullptr && out.effort != Effort::kWeights) {
    out.importance = *importance;
    out.importance_from = "given " + hash_of(*importance);
  } else if (meter) {
    out.importance = meter->importance();
    out.importance_from = "of the calibration text";
  }
  add_uniform(out.importance, profile);
  const LossOptions losses{.threads = options.threads,
                           .meter = meter.get(),
                           .most_measurements = options.most_measurements,
                           .types = options.types,
                           .journal = options.journal,
                           .progress = options.progress};
  BRIMFUL_TRY(out.losses, measure_losses(profile, recipe, out.importance, losses));
  out.meter = std::move(meter);
  return out;
}

Result<double> divergence_of(const model::ModelProfile& profile, Measured& measured, const Choice& choice,
                             unsigned threads) {
  BRIMFUL_TRY(Source source, Source::open(profile));
  WeightsInMemory memory(source, measured.importance, measured.meter.get(), threads);
  for (const TensorLosses& tensor : measured.losses) {
    const model::TensorInfo& info = profile.tensors[tensor.source];
    if (choice.types[tensor.source] != info.type && memory.can_be_changed(info))
      BRIMFUL_TRY_VOID(memory.change(info, choice.types[tensor.source]));
  }
  return measured.meter->divergence();
}

Result<Goal> parse_goal(const std::string& text) {
  Goal out{.text = text};
  const auto size = [](const std::string& part, const std::string& value) -> Result<Bytes> {
    auto bytes = parse_bytes(value);
    if (!bytes) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", part, bytes.error().message));
    return *bytes;
  };
  if (text.find('=') == std::string::npos) {
    BRIMFUL_TRY(out.size, size(text, text));
    return out;
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (key == "size") {
      BRIMFUL_TRY(out.size, size(part, value));
    } else if (key == "ram") {
      BRIMFUL_TRY(out.ram, size(part, value));
    } else if (key == "vram") {
      BRIMFUL_TRY([[maybe_unused]] const Bytes checked, size(part, value));
      out.vram = value;
    } else if (key == "tps") {
      char* stop = nullptr;
      const double rate = std::strtod(value.c_str(), &stop);
      if (value.empty() || *stop != '\0' || !(rate > 0) || !std::isfinite(rate))
        return fail(ErrorCode::kInvalidArgument, fmt::format("{}: is no number of tokens per second", part));
      out.tokens_per_second = rate;
    } else {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: write a size, such as 40GiB, or size=, ram=, vram= and tps=, separated by "
                              "commas",
                              part));
    }
    begin = end + 1;
  }
  return out;
}

Result<Choice> choose_for(const Goal& goal, const SearchSpace& space, std::uint64_t header,
                          const Plans& plans) {
  Limits limits{.file = goal.size, .read_per_token = {}};
  BRIMFUL_TRY(Choice best, space.choose(limits, header));
  if (!goal.needs_plans()) return best;
  BRIMFUL_TRY(Forecast forecast, plans(best.types));
  if ((goal.ram || goal.vram) && !forecast.resident) {
    // The largest file all of whose weights stay in the memory, by halving.
    const Choice least = space.smallest();
    BRIMFUL_TRY(const Forecast at_least, plans(least.types));
    if (!at_least.resident)
      return fail(ErrorCode::kInfeasible,
                  fmt::format("{}: even the smallest possible file, {}, does not stay in this memory",
                              goal.text, format_bytes(Bytes{header + least.tensor_bytes})));
    std::uint64_t fits = header + least.tensor_bytes;
    std::uint64_t too_large = header + best.tensor_bytes;
    best = least;
    for (int i = 0; i < kHalvings && too_large - fits > fits / 4096; ++i) {
      const std::uint64_t middle = fits + (too_large - fits) / 2;
      limits.file = Bytes{middle};
      BRIMFUL_TRY(Choice tried, space.choose(limits, header));
      BRIMFUL_TRY(const Forecast now, plans(tried.types));
      if (now.resident) {
        fits = middle;
        best = std::move(tried);
        forecast = now;
      } else {
        too_large = middle;
      }
    }
    limits.file = Bytes{fits};
  }
  if (goal.tokens_per_second && forecast.tokens_per_second < *goal.tokens_per_second) {
    // The most bytes for a token with which the model is fast enough, by halving.
    double fast = space.smallest().read_per_token;
    double slow = best.read_per_token;
    limits.read_per_token = fast;
    BRIMFUL_TRY(Choice fastest, space.choose(limits, header));
    BRIMFUL_TRY(const Forecast at_best, plans(fastest.types));
    if (at_best.tokens_per_second < *goal.tokens_per_second)
      return fail(ErrorCode::kInfeasible,
                  fmt::format("{}: the fastest possible file gives {:.2f} tokens/s on this machine",
                              goal.text, at_best.tokens_per_second));
    best = std::move(fastest);
    for (int i = 0; i < kHalvings && slow - fast > fast / 4096; ++i) {
      const double middle = (fast + slow) / 2;
      limits.read_per_token = middle;
      BRIMFUL_TRY(Choice tried, space.choose(limits, header));
      BRIMFUL_TRY(const Forecast now, plans(tried.types));
      if (now.tokens_per_second >= *goal.tokens_per_second) {
        fast = middle;
        best = std::move(tried);
      } else {
        slow = middle;
      }
    }
  }
  return best;
}

}  // namespace brimful::quantise

#include "quantise/losses.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>

#include "base/hash.h"
#include "model/file_fingerprint.h"
#include "quantise/journal.h"
#include "quantise/rows.h"
#include "quantise/sensitivity.h"
#include "quantise/source.h"
#include "quantise/weights_in_memory.h"

namespace brimful::quantise {
namespace {

/// All types that are worth a thought: of two types of the same size, another one is rarely the better one.
constexpr std::array kTypes{GGML_TYPE_IQ1_S, GGML_TYPE_IQ1_M,  GGML_TYPE_IQ2_XXS, GGML_TYPE_IQ2_XS,
                            GGML_TYPE_IQ2_S, GGML_TYPE_Q2_K,   GGML_TYPE_IQ3_XXS, GGML_TYPE_IQ3_S,
                            GGML_TYPE_Q3_K,  GGML_TYPE_IQ4_XS, GGML_TYPE_IQ4_NL,  GGML_TYPE_Q4_0,
                            GGML_TYPE_Q4_K,  GGML_TYPE_Q4_1,   GGML_TYPE_Q5_0,    GGML_TYPE_Q5_K,
                            GGML_TYPE_Q5_1,  GGML_TYPE_Q6_K,   GGML_TYPE_Q8_0};

/// About so many elements of a tensor are quantised to measure a type's error, in so many places.
constexpr std::int64_t kSampled = 128 * 1024;
constexpr std::int64_t kPlaces = 16;
/// The error at which a sensitivity is measured: far above what rounding does, and small enough that the
/// divergence is proportional to it.
constexpr double kProbeError = 0.02;

/// Four significant digits: enough, and the same on every machine.
double rounded(double value) { return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr); }

/// Whether llama.cpp's quantiser refuses the type without an importance matrix, but for embeddings and
/// output.
bool needs_importance(ggml_type type) {
  switch (type) {
    case GGML_TYPE_IQ1_S:
    case GGML_TYPE_IQ1_M:
    case GGML_TYPE_IQ2_XXS:
    case GGML_TYPE_IQ2_XS:
    case GGML_TYPE_IQ2_S:
    case GGML_TYPE_IQ3_XXS: return true;
    default: return false;
  }
}

bool is_among(ggml_type type, const std::vector<ggml_type>& only) {
  return only.empty() || std::ranges::find(only, type) != only.end();
}

class Measurer {
 public:
  Measurer(const model::ModelProfile& profile, const Importance& importance, const LossOptions& options,
           Source source, Journal journal)
      : profile_(profile),
        importance_(importance),
        options_(options),
        source_(std::move(source)),
        journal_(std::move(journal)),
        memory_(source_, importance, options.meter, options.threads) {}

  Result<std::vector<TensorLosses>> run(const Recipe& recipe) {
    std::vector<TensorLosses> out;
    for (const OutputFile& file : recipe.files) {
      for (const OutputTensor& tensor : file.tensors) {
        if (tensor.type != profile_.tensors[tensor.source].type) out.push_back({.source = tensor.source});
      }
    }
    std::ranges::sort(out, {}, &TensorLosses::source);
    const std::vector<std::vector<std::size_t>> groups = groups_of(out);
    steps_ = out.size() + groups.size();
    for (TensorLosses& tensor : out) {
      BRIMFUL_TRY_VOID(measure_errors(tensor));
      step();
    }
    for (TensorLosses& tensor : out)
      tensor.sensitivity = rounded(usual_sensitivity(profile_.tensors[tensor.source], profile_.layers));
    for (const std::vector<std::size_t>& group : groups) {
      BRIMFUL_TRY_VOID(measure_sensitivity(out, group));
      step();
    }
    return out;
  }

 private:
  void step() {
    if (options_.progress) options_.progress(++done_, steps_);
  }

  /// The tensors whose sensitivities are measured together, as indices into `tensors`: each alone where the
  /// measurements suffice, else neighbours of the same kind.
  [[nodiscard]] std::vector<std::vector<std::size_t>> groups_of(
      const std::vector<TensorLosses>& tensors) const {
    std::map<std::string_view, std::vector<std::size_t>> by_kind;
    if (options_.meter == nullptr) return {};
    std::size_t count = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (!memory_.can_be_changed(profile_.tensors[tensors[i].source])) continue;
      by_kind[kind_of(profile_.tensors[tensors[i].source])].push_back(i);
      ++count;
    }
    const std::size_t together = std::max<std::size_t>(
        1, (count + options_.most_measurements - 1) / std::max<std::size_t>(options_.most_measurements, 1));
    std::vector<std::vector<std::size_t>> out;
    for (auto& [kind, members] : by_kind) {
      std::ranges::sort(members, {}, [&](std::size_t i) {
        return std::pair(profile_.tensors[tensors[i].source].layer.value_or(-1), i);
      });
      for (std::size_t i = 0; i < members.size(); i += together)
        out.emplace_back(
            members.begin() + static_cast<std::ptrdiff_t>(i),
            members.begin() + static_cast<std::ptrdiff_t>(std::min(i + together, members.size())));
    }
    return out;
  }

  [[nodiscard]] std::vector<ggml_type> types_for(const model::TensorInfo& tensor) const {
    const bool known = !importance_.uniform.contains(tensor.name);
    const bool outside = tensor.role == model::Role::kTokenEmbedding || tensor.role == model::Role::kOutput;
    std::vector<ggml_type> out;
    for (const ggml_type type : kTypes) {
      if (!is_among(type, options_.types) || tensor.shape[0] % ggml_blck_size(type) != 0) continue;
      if (needs_importance(type) && !known && !outside) continue;
      if (ggml_row_size(type, tensor.shape[0]) < tensor.row_bytes().value) out.push_back(type);
    }
    return out;
  }

  [[nodiscard]] const float* columns_of(const model::TensorInfo& tensor) const {
    const auto found = importance_.columns.find(tensor.name);
    return found == importance_.columns.end() ? nullptr : found->second.data();
  }

  /// Reads rows that are spread evenly over the tensor, some in each place. `places` gets the first row of
  /// each place, all of `length` rows.
  Status sample(const model::TensorInfo& tensor, std::vector<std::int64_t>& places, std::int64_t& length,
                std::vector<float>& values) {
    const std::int64_t all = tensor.rows();
    const std::int64_t wanted = std::clamp<std::int64_t>(kSampled / tensor.shape[0], 1, all);
    const std::int64_t count = std::min(kPlaces, wanted);
    length = wanted / count;
    values.resize(static_cast<std::size_t>(count * length * tensor.shape[0]));
    std::vector<std::byte> bytes(static_cast<std::size_t>(length) * tensor.row_bytes().value);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t first = count == 1 ? 0 : (all - length) * i / (count - 1);
      places.push_back(first);
      BRIMFUL_TRY_VOID(source_.read(tensor, static_cast<std::uint64_t>(first) * tensor.row_bytes().value,
                                    Bytes{bytes.size()}, bytes.data()));
      BRIMFUL_TRY_VOID(to_floats(tensor.name, tensor.type, bytes.data(), rows_of(tensor, first, length),
                                 values.data() + i * length * tensor.shape[0], options_.threads));
    }
    return {};
  }

  Status measure_errors(TensorLosses& out) {
    const model::TensorInfo& tensor = profile_.tensors[out.source];
    const std::vector<ggml_type> types = types_for(tensor);
    auto known = journal_.errors(tensor.name);
    if (known && !std::ranges::all_of(types, [&](ggml_type t) { return known->contains(ggml_type_name(t)); }))
      known.reset();
    std::vector<std::int64_t> places;
    std::vector<float> values;
    std::int64_t length = 0;
    if (!known) BRIMFUL_TRY_VOID(sample(tensor, places, length, values));
    std::map<std::string, double> errors;
    for (const ggml_type type : types) {
      double error = 0;
      if (known) {
        error = known->at(ggml_type_name(type));
      } else {
        BRIMFUL_TRY(error, error_of(tensor, type, places, length, values));
      }
      errors[ggml_type_name(type)] = error;
      out.candidates.push_back(
          {.type = type,
           .bytes = ggml_row_size(type, tensor.shape[0]) * static_cast<std::uint64_t>(tensor.rows()),
           .error = error});
    }
    out.candidates.push_back({.type = tensor.type, .bytes = tensor.bytes.value, .error = 0});
    if (!known) BRIMFUL_TRY_VOID(journal_.note_errors(tensor.name, errors));
    return {};
  }

  Result<double> error_of(const model::TensorInfo& tensor, ggml_type type,
                          const std::vector<std::int64_t>& places, std::int64_t length,
                          const std::vector<float>& values) {
    const std::int64_t width = tensor.shape[0];
    const float* const columns = columns_of(tensor);
    std::vector<std::byte> quantised(ggml_row_size(type, width) * static_cast<std::size_t>(length));
    std::vector<float> back(static_cast<std::size_t>(width));
    double wrong = 0;
    double all = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const float* const from = values.data() + static_cast<std::int64_t>(i) * length * width;
      BRIMFUL_TRY_VOID(quantise_rows(tensor.name, type, from, rows_of(tensor, places[i], length), columns,
                                     quantised.data(), options_.threads));
      for (std::int64_t r = 0; r < length; ++r) {
        const float* const weight =
            columns == nullptr ? nullptr : columns + (places[i] + r) / tensor.shape[1] * width;
        ggml_get_type_traits(type)->to_float(
            quantised.data() + static_cast<std::size_t>(r) * ggml_row_size(type, width), back.data(), width);
        for (std::int64_t c = 0; c < width; ++c) {
          const double importance = weight == nullptr ? 1.0 : static_cast<double>(weight[c]);
          const double value = static_cast<double>(from[r * width + c]);
          const double difference = static_cast<double>(back[static_cast<std::size_t>(c)]) - value;
          wrong += importance * difference * difference;
          all += importance * value * value;
        }
      }
    }
    return rounded(all > 0 ? wrong / all : 0.0);
  }

  /// The candidate whose error is nearest to the one at which sensitivities are measured.
  static const Candidate& probe_of(const TensorLosses& tensor) {
    return *std::ranges::min_element(tensor.candidates, {}, [](const Candidate& candidate) {
      return candidate.error > 0 ? std::abs(std::log(candidate.error / kProbeError)) : INFINITY;
    });
  }

  Status measure_sensitivity(std::vector<TensorLosses>& tensors, const std::vector<std::size_t>& group) {
    const std::string& first = profile_.tensors[tensors[group.front()].source].name;
    const std::string& last = profile_.tensors[tensors[group.back()].source].name;
    double errors = 0;
    for (const std::size_t i : group) errors += probe_of(tensors[i]).error;
    if (errors <= 0) return {};
    std::optional<double> divergence = journal_.divergence(first, last);
    if (!divergence) {
      for (const std::size_t i : group)
        BRIMFUL_TRY_VOID(memory_.change(profile_.tensors[tensors[i].source], probe_of(tensors[i]).type));
      BRIMFUL_TRY(const double measured, options_.meter->divergence());
      for (const std::size_t i : group)
        BRIMFUL_TRY_VOID(memory_.restore(profile_.tensors[tensors[i].source]));
      divergence = rounded(std::max(measured, 0.0));
      BRIMFUL_TRY_VOID(journal_.note_divergence(first, last, *divergence));
    }
    for (const std::size_t i : group) {
      tensors[i].sensitivity = rounded(*divergence / errors);
      tensors[i].measured = true;
    }
    return {};
  }

  const model::ModelProfile& profile_;
  const Importance& importance_;
  const LossOptions& options_;
  Source source_;
  Journal journal_;
  WeightsInMemory memory_;
  std::size_t done_ = 0;
  std::size_t steps_ = 0;
};

}  // namespace

std::uint64_t least_tensor_bytes(const model::ModelProfile& profile, const Recipe& recipe,
                                 const std::vector<ggml_type>& only) {
  std::uint64_t out = 0;
  for (const OutputFile& file : recipe.files) {
    for (const OutputTensor& tensor : file.tensors) {
      const model::TensorInfo& source = profile.tensors[tensor.source];
      std::uint64_t row = source.row_bytes().value;
      for (const ggml_type type : kTypes) {
        if (is_among(type, only) && tensor.type != source.type && source.shape[0] % ggml_blck_size(type) == 0)
          row = std::min<std::uint64_t>(row, ggml_row_size(type, source.shape[0]));
      }
      out += align_up(row * static_cast<std::uint64_t>(source.rows()), std::uint64_t{32});
    }
  }
  return out;
}

Result<std::vector<TensorLosses>> measure_losses(const model::ModelProfile& profile, const Recipe& recipe,
                                                 const Importance& importance, const LossOptions& options) {
  BRIMFUL_TRY(const std::string fingerprint, model::model_fingerprint(profile.files));
  Hash64 job;
  job.add(fingerprint);
  add_columns(job, importance);
  if (options.meter != nullptr) job.add(fmt::format("{:x}", options.meter->text_hash()));
  job.add(fmt::format("{}", options.most_measurements));
  // Divergences are measured with one of these types.
  for (const ggml_type type : options.types) job.add(ggml_type_name(type));
  BRIMFUL_TRY(Journal journal, Journal::open(options.journal, job.value()));
  BRIMFUL_TRY(Source source, Source::open(profile));
  return Measurer(profile, importance, options, std::move(source), std::move(journal)).run(recipe);
}

}  // namespace brimful::quantise

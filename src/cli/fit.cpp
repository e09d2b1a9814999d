#include "cli/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "base/counted.h"
#include "base/standard_error.h"
#include "cli/flag_names.h"
#include "cli/ram_budget.h"
#include "hub/temporary_folder.h"
#include "model/gguf_reader.h"
#include "session/devices.h"

namespace brimful::cli {
namespace {

constexpr std::size_t kMostPlanned = 40;
// The most and the least bits for each weight that a model of this repository can have; others are of another
// size.
constexpr double kMostBits = 34;
constexpr double kLeastBits = 1;
constexpr double kSameSize = 0.25;  // Models whose numbers of weights differ by more are different models.
// Measuring a machine that is not known yet takes a minute: little beside a larger download.
constexpr Bytes kWorthMeasuring = kGiB * 4;

std::unexpected<Error> wrong_fit(std::string_view text, std::string_view what) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--fit {}: {}: give budgets, and if you like the least tokens/s, as in --fit "
                          "vram=11.5GiB,ram=48GiB,tps=3",
                          text, what));
}

/// The budgets together; nullopt when one of them is open.
Result<std::optional<Bytes>> all_budgets(const PlanOptions& options) {
  const bool all_cards = (options.like || options.hardware) && !options.vram;
  if (!options.run.ram || all_cards) return std::nullopt;
  BRIMFUL_TRY(Bytes sum, parse_ram(*options.run.ram));
  if (!options.vram) return sum;
  BRIMFUL_TRY(const std::vector<session::VramPart> parts,
              session::parse_vram(*options.vram, flag_names().vram));
  for (const session::VramPart& part : parts) {
    if (!part.size) return std::nullopt;
    sum += *part.size;
  }
  return sum;
}

/// A model of the repository that can be chosen.
struct Candidate {
  hub::HubFiles files;
  std::optional<std::filesystem::path> cached;  // Its file, when the cache has it.
};

/// One comparison.
class Search {
 public:
  Search(PlanOptions options, FitWish wish, hub::Http& http, const hub::HubCache& cache,
         hub::TemporaryFolder folder)
      : options_(std::move(options)),
        wish_(std::move(wish)),
        http_(http),
        cache_(cache),
        folder_(std::move(folder)) {}

  Result<FitReport> find() {
    BRIMFUL_TRY(const hub::HubModel name, hub::parse_hub_model(options_.hub));
    BRIMFUL_TRY_VOID(list(name));
    tell("comparing {} of {} by their headers\n", counted(candidates_.size(), "model"), name.repository);
    BRIMFUL_TRY_VOID(sort());
    BRIMFUL_TRY(const std::optional<Bytes> budgets, all_budgets(options_));
    for (std::size_t i = 0; i < rows().size() && planned_ < kMostPlanned && !report_.chosen; ++i) {
      // A file whose weights cannot lie in the budgets as a whole. The header is not needed to say so.
      if (!wish_.tokens_per_s && budgets && rows()[i].size > *budgets + model::kMaxHeader) continue;
      BRIMFUL_TRY_VOID(plan(i));
      if (rows()[i].verdict == FitVerdict::kGood) choose(i);
    }
    if (!report_.chosen) return none(name);
    if (const std::size_t i = *report_.chosen; i > 0) BRIMFUL_TRY_VOID(plan_beside(i - 1));
    if (const std::size_t i = *report_.chosen + 1; i < rows().size()) BRIMFUL_TRY_VOID(plan_beside(i));
    return std::move(report_);
  }

 private:
  std::vector<FitRow>& rows() { return report_.rows; }

  /// Lists the models of the repository: those of the hub, or offline those of the cache.
  Status list(const hub::HubModel& name) {
    std::vector<hub::CachedModel> cached = cache_.models();
    std::erase_if(cached, [&](const auto& model) { return model.repository != name.repository; });
    if (http_.settings().offline && !cached.empty()) {
      for (const hub::CachedModel& model : cached) {
        hub::HubModel full{model.repository, std::nullopt};
        if (!model.tag.empty()) full.quantisation = model.tag;
        candidates_.push_back({{full, "", {{model.path, model.size.value, ""}}}, model.file});
      }
      return {};
    }
    BRIMFUL_TRY(const std::vector<hub::HubFiles> all, hub::find_all_files(http_, name));
    for (const hub::HubFiles& files : all) {
      const auto there = std::ranges::find_if(cached, [&](const hub::CachedModel& model) {
        return model.path == files.files.front().path && model.size == files.size();
      });
      candidates_.push_back({files, there == cached.end() ? std::nullopt : std::optional(there->file)});
    }
    return {};
  }

  /// Makes the rows. The number of weights is that of the model that a name without a quantisation means.
  Status sort() {
    std::vector<std::string> paths;
    for (const Candidate& candidate : candidates_) paths.push_back(candidate.files.files.front().path);
    BRIMFUL_TRY(const std::string usual, hub::choose_file(paths, std::nullopt));
    const Candidate& reference = *std::ranges::find_if(
        candidates_, [&](const Candidate& one) { return one.files.files.front().path == usual; });
    BRIMFUL_TRY(const std::filesystem::path header, header_of(reference));
    BRIMFUL_TRY(const model::ModelProfile profile, model::read_model(header, model::Weights::kMayBeMissing));
    parameters_ = std::max<double>(static_cast<double>(profile.parameters), 1);
    options_.measure = wish_.tokens_per_s || options_.vram || reference.files.size() >= kWorthMeasuring;
    options_.refresh = probe::Refresh::kMissing;
    for (const Candidate& candidate : candidates_) {
      FitRow row{.tag = candidate.files.name.quantisation.value_or(""),
                 .file = candidate.files.files.front().path,
                 .size = candidate.files.size(),
                 .why = {}};
      if (row.tag.empty()) row.tag = row.file;
      row.bits_per_weight = 8 * static_cast<double>(row.size.value) / parameters_;
      // Of a tiny model, the header is a large part of the file.
      const double weights =
          8 * static_cast<double>(saturating_sub(row.size, model::kMaxHeader).value) / parameters_;
      if (weights > kMostBits || row.bits_per_weight < kLeastBits) continue;
      rows().push_back(std::move(row));
    }
    sort_by_quality(rows());
    return {};
  }

  const Candidate& candidate_of(const FitRow& row) const {
    return *std::ranges::find_if(
        candidates_, [&](const Candidate& one) { return one.files.files.front().path == row.file; });
  }

  Result<std::filesystem::path> header_of(const Candidate& candidate) {
    if (candidate.cached) return *candidate.cached;
    const std::string& path = candidate.files.files.front().path;
    if (const auto known = headers_.find(path); known != headers_.end()) return known->second;
    // Files in different folders of a repository may have the same name.
    const std::filesystem::path folder = folder_.path() / fmt::format("{}", headers_.size());
    std::error_code error;
    std::filesystem::create_directory(folder, error);
    if (error)
      return fail(ErrorCode::kIo, fmt::format("{}: cannot be written: {}", folder.string(), error.message()));
    BRIMFUL_TRY(std::filesystem::path header, hub::fetch_headers_of(http_, candidate.files, folder));
    headers_.emplace(path, header);
    return header;
  }

  /// Plans a model, and sets its row. Errors: those that are not about the model.
  Status plan(std::size_t index) {
    FitRow& row = rows()[index];
    ++planned_;
    last_.reset();
    const auto header = header_of(candidate_of(row));
    if (!header) return about_model(row, header.error());
    PlanOptions options = options_;
    options.hub.clear();
    options.run.hub.clear();
    options.run.model = header->string();
    options.advice = false;
    auto made = make_report(options);
    if (!made) return about_model(row, made.error());
    const auto parameters = static_cast<double>(made->inputs.profile.parameters);
    if (std::abs(parameters - parameters_) > kSameSize * parameters_) {
      row.verdict = FitVerdict::kOther;
      row.why = "another model";
      return {};
    }
    set(row, *made);
    last_ = std::move(*made);
    return {};
  }

  Status plan_beside(std::size_t index) {
    if (rows()[index].verdict != FitVerdict::kNotPlanned) return {};
    return plan(index);
  }

  Status about_model(FitRow& row, const Error& error) {
    switch (error.code) {
      case ErrorCode::kInfeasible:
        row.verdict = FitVerdict::kDoesNotFit;
        problem_ = error;
        return {};
      case ErrorCode::kCorrupt:
      case ErrorCode::kUnsupported:
        row.verdict = FitVerdict::kOther;
        row.why = "cannot be planned";
        if (!problem_) problem_ = error;
        return {};
      default: return std::unexpected(error);
    }
  }

  void set(FitRow& row, const PlanReport& made) const {
    const plan::Plan& plan = made.plan;
    row.vram = Bytes{};
    for (const plan::DeviceShare& device : plan.devices.devices) *row.vram += device.budget - device.unused;
    row.ram = plan.host.memory_map(made.inputs.profile).peak();
    row.reads_per_token = plan.forecast.decode.reads;
    row.bits_per_weight = 8 * static_cast<double>(made.inputs.profile.weight_bytes().value) /
                          static_cast<double>(made.inputs.profile.parameters);
    // A machine that was not measured has made-up rates.
    if (!made.inputs.machine.measured.empty() || made.elsewhere) {
      row.tokens_per_s = plan.forecast.decode_tokens_per_second;
      row.prompt_tokens_per_s = plan.forecast.prompt_tokens_per_second;
    }
    row.verdict = FitVerdict::kGood;
    if (wish_.tokens_per_s && row.tokens_per_s.value_or(0) < *wish_.tokens_per_s)
      row.verdict = FitVerdict::kTooSlow;
    if (!wish_.tokens_per_s && *row.reads_per_token > Bytes{}) row.verdict = FitVerdict::kFromDisk;
  }

  void choose(std::size_t index) {
    report_.chosen = index;
    const Candidate& candidate = candidate_of(rows()[index]);
    report_.files = candidate.files;
    report_.cached = candidate.cached;
    report_.plan = std::move(last_);
  }

  /// Says why none is chosen, and what would be.
  Result<FitReport> none(const hub::HubModel& name) {
    const auto fastest = std::ranges::max_element(
        rows(), {}, [](const FitRow& row) { return row.tokens_per_s.value_or(row.ram ? 0 : -1); });
    if (fastest == rows().end() || !fastest->ram) {
      // No plan fits at all, so the last message says what is missing.
      if (problem_ && problem_->code != ErrorCode::kInfeasible) return std::unexpected(*problem_);
      report_.problem =
          fmt::format("no model of {} fits{}", name.repository, problem_ ? ": " + problem_->message : "");
    } else if (wish_.tokens_per_s) {
      report_.problem = fmt::format(
          "no model of {} gives {:g} tokens/s within these budgets: {} gives {:.1f}; ask for less "
          "(tps), or give it more memory",
          name.repository, *wish_.tokens_per_s, fastest->tag, fastest->tokens_per_s.value_or(0));
    } else {
      const std::string speed =
          fastest->tokens_per_s ? fmt::format(" with {:.1f} tokens/s", *fastest->tokens_per_s) : "";
      report_.problem = fmt::format(
          "no model of {} lies in these budgets as a whole: {} runs{}, and reads {} from the disk for each "
          "token; ask for a speed (--fit ...,tps=N), or name it: {}:{}",
          name.repository, fastest->tag, speed, format_bytes(fastest->reads_per_token.value_or(Bytes{})),
          name.repository, fastest->tag);
    }
    return std::move(report_);
  }

  PlanOptions options_;
  const FitWish wish_;
  hub::Http& http_;
  const hub::HubCache& cache_;
  const hub::TemporaryFolder folder_;
  std::vector<Candidate> candidates_;
  std::map<std::string, std::filesystem::path> headers_;  // By the path in the repository.
  double parameters_ = 1;
  std::size_t planned_ = 0;
  std::optional<PlanReport> last_;
  std::optional<Error> problem_;
  FitReport report_;
};

}  // namespace

Result<FitWish> parse_fit(std::string_view text) {
  FitWish wish;
  std::optional<std::string>* budget = nullptr;  // The one that a part without a name of its own continues.
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    const std::size_t equals = part.find('=');
    const std::string_view key = part.substr(0, std::min(equals, part.size()));
    const std::string value(equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1));
    const bool is_budget = equals != std::string_view::npos && (key == "vram" || key == "ram");
    if (is_budget) {
      budget = key == "vram" ? &wish.vram : &wish.ram;
      if (*budget) return wrong_fit(text, fmt::format("'{}' is there twice", key));
      if (value.empty()) return wrong_fit(text, fmt::format("'{}' has no size", key));
      *budget = value;
    } else if (key == "tps" && equals != std::string_view::npos) {
      double speed = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), speed);
      if (error != std::errc{} || end != value.data() + value.size() || !std::isfinite(speed) || speed <= 0)
        return wrong_fit(text, fmt::format("'{}' is no number of tokens/s", value));
      wish.tokens_per_s = speed;
    } else if (budget == &wish.vram && !part.empty()) {
      **budget += fmt::format(",{}", part);  // The budget of a further GPU.
    } else {
      return wrong_fit(text,
                       fmt::format("{} is not one of vram=SIZE, ram=SIZE, tps=N", model::in_quotes(part)));
    }
  }
  if (!wish.vram && !wish.ram && !wish.tokens_per_s) return wrong_fit(text, "it says nothing");
  if (wish.ram) {
    if (auto ram = parse_ram(*wish.ram); !ram) return std::unexpected(ram.error());
  }
  if (wish.vram) {
    if (auto vram = session::parse_vram(*wish.vram, "--fit vram"); !vram)
      return std::unexpected(vram.error());
  }
  return wish;
}

Status apply_fit(RunOptions& options) {
  BRIMFUL_TRY(FitWish wish, parse_fit(*options.fetch.fit));
  if (options.hub.empty())
    return fail(ErrorCode::kInvalidArgument,
                "--fit chooses among the files of a repository: name it with -hf ORGANISATION/REPOSITORY");
  BRIMFUL_TRY(const hub::HubModel model, hub::parse_hub_model(options.hub));
  if (model.quantisation) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--fit chooses the quantization: name {} without ':{}', or leave --fit out",
                            model.repository, *model.quantisation));
  }
  for (const auto& [flag, given, wished] :
       {std::tuple{"--ram", &options.ram, &wish.ram}, std::tuple{"--vram", &options.vram, &wish.vram}}) {
    if (*given && *wished)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--fit and {} name the same budget: leave one of them out", flag));
    if (*wished) *given = std::move(*wished);
  }
  return {};
}

Result<FitReport> choose_fit(PlanOptions options, hub::Http& http, const hub::HubCache& cache) {
  BRIMFUL_TRY(FitWish wish, parse_fit(*options.run.fetch.fit));
  BRIMFUL_TRY(hub::TemporaryFolder folder, hub::TemporaryFolder::make_in(cache.folder()));
  return Search(std::move(options), std::move(wish), http, cache, std::move(folder)).find();
}

}  // namespace brimful::cli

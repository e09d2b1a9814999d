#include "cli/cache_commands.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "base/progress.h"
#include "base/standard_error.h"
#include "base/standard_output.h"
#include "base/suggest.h"
#include "base/visible_text.h"
#include "cli/exit_code.h"
#include "cli/fetch.h"
#include "cli/fit.h"
#include "cli/model_choice.h"
#include "cli/model_listing.h"
#include "cli/watch.h"
#include "control/client.h"

namespace brimful::cli {
namespace {

/// The flags of `brimful pull`: of the plan, those by which --fit chooses.
struct PullOptions {
  PlanOptions plan;
  bool json = false;
};

struct NameOptions {
  std::string name;
  std::string to;
  bool json = false;
  bool unfinished = false;
};

/// The model of this name, with the nearest name in the message where there is none.
Result<hub::CachedModel> find(const hub::HubCache& cache, const std::string& name) {
  BRIMFUL_TRY(const hub::HubModel model, hub::parse_hub_model(name));
  auto found = cache.find(model);
  if (found) return found;
  std::vector<std::string> names;
  for (const hub::CachedModel& cached : cache.models()) names.push_back(cached.name());
  return fail(found.error().code, found.error().message + suggestion(name, names));
}

/// The process of this user that runs one of these files, if there is one. Other programs are not known.
Result<std::optional<pid_t>> user_of(const std::vector<std::filesystem::path>& blobs) {
  BRIMFUL_TRY(const std::vector<pid_t> pids, control::running());
  for (const pid_t pid : pids) {
    const auto status = control::ask(pid, {{"ask", "status"}}, Watch::kPatience);
    if (!status) continue;
    std::error_code unknown;
    const auto file = std::filesystem::canonical(status->value("model", ""), unknown);
    if (std::ranges::find(blobs, file) != blobs.end()) return pid;
  }
  return std::nullopt;
}

/// What --fit found, as JSON; null without this flag.
Result<hub::HubFiles> chosen_files(PullOptions& options, hub::Http& http, nlohmann::ordered_json& fit) {
  RunOptions& run = options.plan.run;
  if (!run.fetch.fit) {
    if (options.plan.like || options.plan.hardware)
      return fail(ErrorCode::kInvalidArgument,
                  "--like and --hardware are for --fit: a model is fetched as it is");
    BRIMFUL_TRY(const hub::HubModel name, hub::parse_hub_model(run.hub));
    return hub::find_files(http, name);
  }
  BRIMFUL_TRY_VOID(apply_fit(run));
  options.plan.vram = std::exchange(run.vram, std::nullopt);
  options.plan.hub = run.hub;
  BRIMFUL_TRY(FitReport found, choose_fit(options.plan, http, hub::HubCache::of_environment()));
  fit = fit_json(found.rows, found.chosen);
  tell("{}", fit_table(found.rows, found.chosen));
  if (!found.chosen) return fail(ErrorCode::kInfeasible, found.problem + "; nothing was fetched");
  return std::move(found.files);
}

Status pull(PullOptions options) {
  BRIMFUL_TRY(const hub::Settings settings, settings_of(options.plan.run.fetch));
  BRIMFUL_TRY(hub::Http http, hub::Http::open(settings));
  nlohmann::ordered_json fit;
  BRIMFUL_TRY(const hub::HubFiles model, chosen_files(options, http, fit));
  BRIMFUL_TRY(const std::filesystem::path file,
              download_and_show(settings, hub::HubCache::of_environment(), model));
  if (!options.json) return write_standard_output(file.string() + '\n');
  nlohmann::ordered_json out{{"file", file.string()},
                             {"repository", model.name.repository},
                             {"commit", model.commit},
                             {"quantization", model.quantisation()},
                             {"bytes", model.size().value}};
  if (!fit.is_null()) out["fit"] = std::move(fit);
  return write_standard_output(json_text(out, 2) + '\n');
}

std::string day(std::filesystem::file_time_type time) {
  const auto system = std::filesystem::file_time_type::clock::to_sys(time);
  return fmt::format("{:%Y-%m-%d}",
                     fmt::localtime(std::chrono::system_clock::to_time_t(
                         std::chrono::time_point_cast<std::chrono::system_clock::duration>(system))));
}

Status list(bool json) {
  const hub::HubCache cache = hub::HubCache::of_environment();
  const std::vector<hub::CachedModel> models = cache.models();
  const std::vector<hub::UnfinishedFile> unfinished = cache.unfinished();
  if (json) {
    nlohmann::json out{{"cache", cache.folder().string()},
                       {"models", nlohmann::json::array()},
                       {"unfinished", nlohmann::json::array()}};
    for (const hub::CachedModel& model : models) {
      nlohmann::json blobs = nlohmann::json::array();
      for (const std::filesystem::path& blob : model.blobs) blobs.push_back(blob.filename().string());
      out["models"].push_back({{"name", model.name()},
                               {"repository", model.repository},
                               {"quantization", model.quantisation},
                               {"file", model.file.string()},
                               {"bytes", model.size.value},
                               {"hashes", std::move(blobs)},
                               {"changed", day(model.changed)}});
    }
    for (const hub::UnfinishedFile& file : unfinished)
      out["unfinished"].push_back({{"repository", file.repository}, {"bytes_there", file.there.value}});
    return write_standard_output(json_text(out, 2) + '\n');
  }
  std::size_t width = 4;
  for (const hub::CachedModel& model : models) width = std::max(width, model.name().size());
  std::string text = fmt::format("{:<{}}  {:>11}  CHANGED\n", "NAME", width, "SIZE");
  for (const hub::CachedModel& model : models) {
    text += fmt::format("{:<{}}  {:>11}  {}\n", visible_lines(model.name()), width, format_bytes(model.size),
                        day(model.changed));
  }
  for (const hub::UnfinishedFile& file : unfinished) {
    text += fmt::format("{}: a download is not finished, {} are there: 'brimful pull' goes on\n",
                        file.repository, format_bytes(file.there));
  }
  if (models.empty() && unfinished.empty())
    text = fmt::format("no model in {}: 'brimful pull ORGANISATION/REPOSITORY' fetches one\n",
                       cache.folder().string());
  return write_standard_output(text);
}

/// Compares the files of one model with their hashes. Adds a line for each to `text`. Returns how many are
/// wrong.
Result<std::size_t> verify_one(const hub::CachedModel& model, std::string& text) {
  std::size_t wrong = 0;
  for (const std::filesystem::path& blob : model.blobs) {
    const std::string hash = blob.filename().string();
    if (!hub::is_hash(hash)) {
      text += fmt::format("{}: unknown: the cache does not say a hash for {}\n", model.name(), blob.string());
      continue;
    }
    std::error_code unknown;
    ProgressBar bar("checking", Bytes{std::filesystem::file_size(blob, unknown)});
    BRIMFUL_TRY(const std::string is, hub::hash_of_file(blob, hash, [&](Bytes done) { bar.update(done); }));
    bar.finish();
    if (is == hash) {
      text += fmt::format("{}: right\n", model.name());
      continue;
    }
    ++wrong;
    text += fmt::format(
        "{}: WRONG: {} has another hash than the hub says: 'brimful rm {}' and 'brimful pull "
        "{}' fetch it again\n",
        model.name(), blob.string(), model.name(), model.name());
  }
  return wrong;
}

Status verify(const std::string& name) {
  const hub::HubCache cache = hub::HubCache::of_environment();
  std::vector<hub::CachedModel> models;
  if (name.empty()) {
    models = cache.models();
  } else {
    BRIMFUL_TRY(hub::CachedModel model, find(cache, name));
    models.push_back(std::move(model));
  }
  std::string text;
  std::size_t wrong = 0;
  for (const hub::CachedModel& model : models) {
    BRIMFUL_TRY(const std::size_t found, verify_one(model, text));
    wrong += found;
  }
  BRIMFUL_TRY_VOID(write_standard_output(visible_lines(text)));
  if (wrong == 0) return {};
  return fail(ErrorCode::kCorrupt,
              fmt::format("{} of the files {} not what the hub says", wrong, wrong == 1 ? "is" : "are"));
}

Status copy(const std::string& name, const std::string& to) {
  const hub::HubCache cache = hub::HubCache::of_environment();
  BRIMFUL_TRY(const hub::HubModel target, hub::parse_hub_model(to));
  BRIMFUL_TRY(const hub::CachedModel model, find(cache, name));
  if (target.quantisation && *target.quantisation != model.tag) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: a copy keeps its quantization: leave ':{}' out", to, *target.quantisation));
  }
  BRIMFUL_TRY(const hub::CachedModel made, cache.copy(model, target.repository));
  return write_standard_output(
      visible_lines(fmt::format("{} is {} now, too; it takes no more space\n", model.name(), made.name())));
}

Status remove_unfinished(const hub::HubCache& cache, const std::string& repository) {
  BRIMFUL_TRY(const Bytes freed, cache.remove_unfinished(repository));
  if (freed > Bytes{})
    return write_standard_output(fmt::format("removed an unfinished download of {}\n", repository));
  return fail(ErrorCode::kNotFound, fmt::format("{}: no download of it is unfinished", repository));
}

Status remove(const NameOptions& options) {
  const std::string& name = options.name;
  const hub::HubCache cache = hub::HubCache::of_environment();
  BRIMFUL_TRY(const hub::HubModel given, hub::parse_hub_model(name));
  if (options.unfinished) return remove_unfinished(cache, given.repository);
  const std::vector<hub::CachedModel> all = cache.models();
  const auto count =
      std::ranges::count_if(all, [&](const auto& model) { return model.repository == given.repository; });
  if (count == 0 && std::ranges::any_of(cache.unfinished(), [&](const auto& file) {
        return file.repository == given.repository;
      }))
    return remove_unfinished(cache, given.repository);
  if (count > 1 && !given.quantisation) {
    std::string names;
    for (const hub::CachedModel& model : all) {
      if (model.repository == given.repository) names += (names.empty() ? "" : ", ") + model.name();
    }
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: name one of {}", name, names));
  }
  BRIMFUL_TRY(const hub::CachedModel model, find(cache, name));
  BRIMFUL_TRY(const std::optional<pid_t> user, user_of(model.blobs));
  if (user) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: process {} runs it: 'brimful stop {}' ends it first", name, *user, *user));
  }
  BRIMFUL_TRY(const Bytes freed, cache.remove(model));
  return write_standard_output(
      visible_lines(fmt::format("removed {}: {} are free now\n", model.name(), format_bytes(freed))));
}

}  // namespace

void add_cache_commands(CLI::App& app, int& exit_code) {
  const auto pulled = std::make_shared<PullOptions>();
  auto* const pull_command =
      app.add_subcommand("pull", "download a model into the cache, or bring it up to date; prints its file");
  RunOptions& run = pulled->plan.run;
  pull_command->add_option("name,--hf,--hf-repo", run.hub, "ORGANISATION/REPOSITORY[:QUANTISATION]")
      ->required();
  add_fit_flag(*pull_command, run.fetch);
  pull_command->add_option(
      "--like", pulled->plan.like,
      "with --fit: for another machine, by the names of its parts, as 'brimful plan' takes "
      "them");
  pull_command->add_option(
      "--hardware", pulled->plan.hardware,
      "with --fit: for another machine, by a file that `brimful probe --json` wrote there");
  add_limit_flag(*pull_command, run.fetch);
  pull_command->add_flag("--json", pulled->json, "print JSON");
  pull_command->callback([pulled, &exit_code] { exit_code = report(pull(*pulled)); });

  const auto listed = std::make_shared<NameOptions>();
  auto* const list_command = app.add_subcommand("list", "list the models in the cache");
  list_command->add_flag("--json", listed->json, "print JSON");
  list_command->callback([listed, &exit_code] { exit_code = report(list(listed->json)); });

  const auto verified = std::make_shared<NameOptions>();
  auto* const verify_command = app.add_subcommand(
      "verify", "compare the models in the cache with the hashes that the hub has for them");
  verify_command->add_option("name", verified->name, "name of one model (default: all)");
  verify_command->callback([verified, &exit_code] { exit_code = report(verify(verified->name)); });

  const auto removed = std::make_shared<NameOptions>();
  auto* const remove_command = app.add_subcommand("rm", "remove a model from the cache");
  remove_command->add_option("name", removed->name, "ORGANISATION/REPOSITORY[:QUANTISATION]")->required();
  remove_command->add_flag("--unfinished", removed->unfinished,
                           "remove only downloads of this repository that are not finished");
  remove_command->callback([removed, &exit_code] { exit_code = report(remove(*removed)); });

  const auto copied = std::make_shared<NameOptions>();
  auto* const copy_command =
      app.add_subcommand("cp", "give a model in the cache a second name, without a second copy on the disk");
  copy_command->add_option("name", copied->name, "ORGANISATION/REPOSITORY[:QUANTISATION]")->required();
  copy_command->add_option("to", copied->to, "ORGANISATION/REPOSITORY of the second name")->required();
  copy_command->callback([copied, &exit_code] { exit_code = report(copy(copied->name, copied->to)); });
}

}  // namespace brimful::cli

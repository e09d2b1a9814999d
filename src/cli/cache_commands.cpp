#include "cli/cache_commands.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/json_text.h"
#include "base/progress.h"
#include "base/standard_output.h"
#include "base/visible_text.h"
#include "cli/exit_code.h"
#include "cli/fetch.h"
#include "cli/model_listing.h"
#include "cli/suggest.h"

namespace brimful::cli {
namespace {

// A connection that gets less than 1 KiB/s counts as stalled, and there are several.
constexpr Bytes kLeastRate = kKiB * 64;

struct PullOptions {
  std::string name;
  std::string limit_rate;
};

struct NameOptions {
  std::string name;
  bool json = false;
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

Status pull(const PullOptions& options) {
  BRIMFUL_TRY(const hub::HubModel name, hub::parse_hub_model(options.name));
  BRIMFUL_TRY(hub::Settings settings, hub::settings_from_environment());
  if (!options.limit_rate.empty()) {
    const auto rate = parse_bytes(options.limit_rate);
    if (!rate || *rate < kLeastRate) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--limit-rate {}: give bytes per second, at least 64KiB, as in 5MiB",
                              options.limit_rate));
    }
    settings.limit_rate = rate->value;
  }
  BRIMFUL_TRY(hub::Http http, hub::Http::open(settings));
  BRIMFUL_TRY(const hub::HubFiles model, hub::find_files(http, name));
  BRIMFUL_TRY(const std::filesystem::path file,
              download_and_show(settings, hub::HubCache::of_environment(), model));
  return write_standard_output(file.string() + '\n');
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
      out["models"].push_back(
          {{"name", model.name()}, {"file", model.file.string()}, {"bytes", model.size.value}});
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

Status remove(const std::string& name) {
  const hub::HubCache cache = hub::HubCache::of_environment();
  BRIMFUL_TRY(const hub::HubModel given, hub::parse_hub_model(name));
  const std::vector<hub::CachedModel> all = cache.models();
  const auto count =
      std::ranges::count_if(all, [&](const auto& model) { return model.repository == given.repository; });
  if (count == 0) {
    BRIMFUL_TRY(const Bytes unfinished, cache.remove_unfinished(given.repository));
    if (unfinished > Bytes{})
      return write_standard_output(fmt::format("removed an unfinished download of {}\n", given.repository));
  }
  if (count > 1 && !given.quantisation) {
    std::string names;
    for (const hub::CachedModel& model : all) {
      if (model.repository == given.repository) names += (names.empty() ? "" : ", ") + model.name();
    }
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: name one of {}", name, names));
  }
  BRIMFUL_TRY(const hub::CachedModel model, find(cache, name));
  BRIMFUL_TRY(const Bytes freed, cache.remove(model));
  return write_standard_output(
      visible_lines(fmt::format("removed {}: {} are free now\n", model.name(), format_bytes(freed))));
}

}  // namespace

void add_cache_commands(CLI::App& app, int& exit_code) {
  const auto pulled = std::make_shared<PullOptions>();
  auto* const pull_command =
      app.add_subcommand("pull", "download a model into the cache, or bring it up to date; prints its file");
  pull_command->add_option("name", pulled->name, "ORGANISATION/REPOSITORY[:QUANTISATION]")->required();
  pull_command->add_option("--limit-rate", pulled->limit_rate, "most bytes per second, such as 5MiB");
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
  remove_command->callback([removed, &exit_code] { exit_code = report(remove(removed->name)); });
}

}  // namespace brimful::cli

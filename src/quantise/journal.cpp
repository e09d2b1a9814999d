#include "quantise/journal.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/replace_file.h"

namespace brimful::quantise {
namespace {

nlohmann::json first_line(std::uint64_t job) { return {{"measurements", fmt::format("{:016x}", job)}}; }

std::string text_of(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Of every journal.
constexpr std::string_view kBegin = R"({"measurements":")";

bool is_number(const nlohmann::json& value) { return value.is_number(); }

}  // namespace

Result<Journal> Journal::open(std::filesystem::path path, std::uint64_t job) {
  Journal out;
  out.path_ = std::move(path);
  std::ifstream in(out.path_);
  std::string line;
  std::string beginning(text_of(first_line(0)).size(), '\0');
  in.read(beginning.data(), static_cast<std::streamsize>(beginning.size()));
  beginning.resize(static_cast<std::size_t>(in.gcount()));
  if (!beginning.empty() && !beginning.starts_with(kBegin))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is no file of measurements: name another file", out.path_.string()));
  const bool ours = beginning == text_of(first_line(job)) && std::getline(in, line);
  std::string kept = text_of(first_line(job)) + '\n';
  while (ours && std::getline(in, line)) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    const auto text = [&](const char* key) {
      const auto found = json.find(key);
      return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    if (const auto errors = json.find("errors"); errors != json.end() && errors->is_object()) {
      for (const auto& [type, value] : errors->items()) {
        if (is_number(value)) out.errors_[text("tensor")][type] = value.get<double>();
      }
    } else if (const auto value = json.find("divergence"); value != json.end() && is_number(*value)) {
      out.divergences_[{text("first"), text("last")}] = value->get<double>();
    } else {
      continue;
    }
    kept += line + '\n';
  }
  // What follows must not be appended to a torn line.
  BRIMFUL_TRY_VOID(replace_file(out.path_, [&](std::ostream& file) { file << kept; }));
  return out;
}

Status Journal::append(const std::string& line) const {
  std::ofstream out(path_, std::ios::app | std::ios::binary);
  out << line << '\n';
  out.close();
  if (!out) return fail(ErrorCode::kIo, fmt::format("{}: cannot be written", path_.string()));
  return {};
}

std::optional<std::map<std::string, double>> Journal::errors(const std::string& tensor) const {
  const auto found = errors_.find(tensor);
  return found == errors_.end() ? std::nullopt : std::optional(found->second);
}

Status Journal::note_errors(const std::string& tensor, const std::map<std::string, double>& errors) {
  return append(text_of({{"tensor", tensor}, {"errors", errors}}));
}

std::optional<double> Journal::divergence(const std::string& first, const std::string& last) const {
  const auto found = divergences_.find({first, last});
  return found == divergences_.end() ? std::nullopt : std::optional(found->second);
}

Status Journal::note_divergence(const std::string& first, const std::string& last, double value) {
  return append(text_of({{"first", first}, {"last", last}, {"divergence", value}}));
}

}  // namespace brimful::quantise

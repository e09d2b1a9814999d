#include "quantise/progress_state.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/replace_file.h"

namespace brimful::quantise {
namespace {

std::string text_of(std::uint64_t job) { return fmt::format("{:016x}", job); }

}  // namespace

std::filesystem::path state_path(const std::filesystem::path& output) {
  return std::filesystem::absolute(output).string() + ".brimful-state";  // replace_file() wants a folder
}

Progress read_progress(const std::filesystem::path& output, std::uint64_t job) {
  std::ifstream in(state_path(output));
  const nlohmann::json json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object() || json.value("job", nlohmann::json()) != text_of(job)) return {};
  const auto file = json.find("file");
  const auto tensors = json.find("tensors");
  if (file == json.end() || tensors == json.end() || !file->is_number_unsigned() ||
      !tensors->is_number_unsigned())
    return {};
  return {file->get<std::size_t>(), tensors->get<std::size_t>()};
}

Status save_progress(const std::filesystem::path& output, std::uint64_t job, Progress progress) {
  return replace_file(state_path(output), [&](std::ostream& out) {
    out << nlohmann::json{{"job", text_of(job)}, {"file", progress.file}, {"tensors", progress.tensors}}
        << '\n';
  });
}

Status forget_progress(const std::filesystem::path& output) {
  std::error_code error;
  std::filesystem::remove(state_path(output), error);
  if (!error) return {};
  return fail(ErrorCode::kIo,
              fmt::format("{}: cannot be removed: {}", state_path(output).string(), error.message()));
}

}  // namespace brimful::quantise

#include "engine/driver_figures.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/json_text.h"
#include "base/replace_file.h"

namespace brimful::engine {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::size_t kMostUses = 256;  // for all devices; with more, all are forgotten

/// The name includes the build of ggml, because another build has other kernels.
std::string name_of(ggml_backend_dev_t device) {
  ggml_backend_reg_t const back_end = ggml_backend_dev_backend_reg(device);
  return fmt::format("{} {} ggml {}", ggml_backend_reg_name(back_end), ggml_backend_dev_description(device),
                     ggml_commit());
}

}  // namespace

DriverFigures::DriverFigures(fs::path file) : file_(std::move(file)) {
  std::ifstream in(file_);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto devices = parse_ordered_json(text);
  if (!devices || !devices->is_object()) return;
  for (const auto& [device, uses] : devices->items()) {
    if (!uses.is_object()) continue;
    for (const auto& [use, bytes] : uses.items()) {
      if (bytes.is_number_unsigned()) known_[{device, use}] = Bytes{bytes.get<std::uint64_t>()};
    }
  }
}

std::optional<DriverFigures::Figure> DriverFigures::find(ggml_backend_dev_t device,
                                                         const std::string& use) const {
  for (const std::string& key : {use, std::string()}) {
    const auto at = known_.find({name_of(device), key});
    if (at != known_.end()) return Figure{at->second, !key.empty()};
  }
  return std::nullopt;
}

void DriverFigures::keep(ggml_backend_dev_t device, const std::string& use, Bytes took, Bytes of_this_use) {
  const std::string name = name_of(device);
  if (known_.size() > kMostUses) known_.clear();
  const bool news = std::exchange(known_[{name, use}], took) != took;
  const Bytes of_any = saturating_sub(took, of_this_use);
  if (std::exchange(known_[{name, ""}], of_any) != of_any || news) write();
}

void DriverFigures::write() const {
  ordered_json devices;
  for (const auto& [key, took] : known_) devices[key.first][key.second] = took.value;
  // Without it, the next start measures again.
  std::ignore = replace_file(file_, [&](std::ostream& out) {
    out << devices.dump(1, ' ', false, ordered_json::error_handler_t::replace) << '\n';
  });
}

}  // namespace brimful::engine

#include "cli/model_listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "base/counted.h"
#include "model/tensor_names.h"

namespace brimful::cli {
namespace {

using model::MetadataEntry;
using model::ModelProfile;
using model::TensorInfo;

template <typename... T>
void print(std::string& out, fmt::format_string<T...> format, T&&... values) {
  fmt::format_to(std::back_inserter(out), format, std::forward<T>(values)...);
}

struct TypeShare {
  std::size_t tensors = 0;
  Bytes bytes;
};

std::map<ggml_type, TypeShare> shares_by_type(const ModelProfile& profile) {
  std::map<ggml_type, TypeShare> shares;
  for (const TensorInfo& tensor : profile.tensors) {
    TypeShare& share = shares[tensor.type];
    ++share.tensors;
    share.bytes += tensor.bytes;
  }
  return shares;
}

std::string shape_text(const TensorInfo& tensor) {
  std::size_t last = 3;
  while (last > 0 && tensor.shape[last] == 1) --last;
  std::string text = fmt::format("{}", tensor.shape[0]);
  for (std::size_t i = 1; i <= last; ++i) text += fmt::format(" x {}", tensor.shape[i]);
  return text;
}

/// One line of the tensor table: tensors that differ only in their layer.
struct TensorGroup {
  std::string kind;
  const TensorInfo* example = nullptr;
  std::vector<int> layers;  ///< Empty for a tensor outside the layers.
  Bytes bytes;
};

std::vector<TensorGroup> group_tensors(const ModelProfile& profile) {
  std::vector<TensorGroup> groups;
  std::map<std::string, std::size_t> index;
  for (const TensorInfo& tensor : profile.tensors) {
    const std::string_view kind = model::parse_tensor_name(tensor.name).kind;
    const std::string key = fmt::format("{}|{}|{}|{}", tensor.layer.has_value(), kind,
                                        static_cast<int>(tensor.type), shape_text(tensor));
    const auto [it, is_new] = index.try_emplace(key, groups.size());
    if (is_new) groups.push_back({.kind = std::string(kind), .example = &tensor, .layers = {}, .bytes = {}});
    TensorGroup& group = groups[it->second];
    if (tensor.layer) group.layers.push_back(*tensor.layer);
    group.bytes += tensor.bytes;
  }
  std::ranges::stable_sort(
      groups, {}, [](const TensorGroup& g) { return std::pair(!g.layers.empty(), g.example->role); });
  return groups;
}

/// Writes numbers as ranges: `0-3, 6, 8-9`.
std::string ranges_text(std::vector<int> numbers) {
  std::ranges::sort(numbers);
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ", ";
    text += last == i ? fmt::format("{}", numbers[i]) : fmt::format("{}-{}", numbers[i], numbers[last]);
    i = last + 1;
  }
  return text;
}

/// Returns text from the file in a form that is safe for a terminal: without control characters, and cut
/// after `width` bytes.
std::string plain(std::string_view text, std::size_t width) {
  std::string out;
  for (const char c : text.substr(0, width)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  return out + (text.size() > width ? "..." : "");
}

void add_summary(std::string& out, const ModelProfile& profile) {
  Bytes on_disk;
  for (const model::ModelFile& file : profile.files) on_disk += file.size;
  print(out, "{}\n\n", plain(profile.name, 100));
  print(out, "  architecture    {}\n", plain(profile.architecture, 60));
  print(out, "  parameters      {}\n", parameters_text(profile.parameters));
  print(out, "  size            {} of weights; {} on disk in {}\n", format_bytes(profile.weight_bytes()),
        format_bytes(on_disk), counted(profile.files.size(), "file"));
  print(out, "  layers          {}\n", profile.layers);
  print(out, "  embedding       {}\n", profile.embedding);
  if (profile.train_context != 0) print(out, "  context         {} tokens\n", profile.train_context);
  if (profile.vocabulary != 0) print(out, "  vocabulary      {} tokens\n", profile.vocabulary);
  print(out, "  chat template   {}\n", profile.chat_template.empty() ? "no" : "yes");
}

void add_types(std::string& out, const ModelProfile& profile) {
  const auto total = static_cast<double>(profile.weight_bytes().value);
  print(out, "\nQuantisation\n\n  {:<10} {:>8} {:>14} {:>7}\n", "type", "tensors", "size", "share");
  for (const auto& [type, share] : shares_by_type(profile)) {
    print(out, "  {:<10} {:>8} {:>14} {:>6.1f}%\n", ggml_type_name(type), share.tensors,
          format_bytes(share.bytes), 100.0 * static_cast<double>(share.bytes.value) / total);
  }
}

void add_tensors(std::string& out, const ModelProfile& profile) {
  print(out, "\nTensors\n\n  {:<16} {:<32} {:<8} {:<22} {:>12}  {}\n", "role", "name", "type", "shape",
        "size", "layers");
  for (const TensorGroup& group : group_tensors(profile)) {
    print(out, "  {:<16} {:<32} {:<8} {:<22} {:>12}  {}\n", model::to_string(group.example->role),
          plain(group.kind, 60), ggml_type_name(group.example->type), shape_text(*group.example),
          format_bytes(group.bytes), ranges_text(group.layers));
  }
}

std::string value_text(const MetadataEntry& entry) {
  constexpr std::size_t kWidth = 72;
  if (entry.value.is_string()) return plain(entry.value.get_ref<const std::string&>(), kWidth);
  std::string text = plain(json_text(entry.value), kWidth);
  const bool shortened = entry.value.is_array() && entry.value.size() < entry.count;
  return shortened ? fmt::format("{} of {}", text, entry.count) : text;
}

void add_metadata(std::string& out, const std::vector<MetadataEntry>& entries) {
  print(out, "\nMetadata\n\n");
  for (const MetadataEntry& entry : entries) {
    print(out, "  {:<44} {:<9} {}\n", plain(entry.key, 80), entry.type, value_text(entry));
  }
}

nlohmann::json files_json(const ModelProfile& profile) {
  nlohmann::json files = nlohmann::json::array();
  for (const model::ModelFile& file : profile.files) {
    files.push_back({{"path", file.path.string()}, {"bytes", file.size.value}});
  }
  return files;
}

nlohmann::json types_json(const ModelProfile& profile) {
  nlohmann::json types = nlohmann::json::array();
  for (const auto& [type, share] : shares_by_type(profile)) {
    types.push_back(
        {{"type", ggml_type_name(type)}, {"tensors", share.tensors}, {"bytes", share.bytes.value}});
  }
  return types;
}

nlohmann::json tensors_json(const ModelProfile& profile) {
  nlohmann::json tensors = nlohmann::json::array();
  for (const TensorInfo& tensor : profile.tensors) {
    nlohmann::json json = {{"name", tensor.name},
                           {"role", model::to_string(tensor.role)},
                           {"type", ggml_type_name(tensor.type)},
                           {"shape", tensor.shape},
                           {"bytes", tensor.bytes.value},
                           {"file", tensor.file},
                           {"offset", tensor.offset}};
    json["layer"] = tensor.layer ? nlohmann::json(*tensor.layer) : nlohmann::json(nullptr);
    tensors.push_back(std::move(json));
  }
  return tensors;
}

nlohmann::json metadata_json(const std::vector<MetadataEntry>& entries) {
  nlohmann::json metadata = nlohmann::json::array();
  for (const MetadataEntry& entry : entries) {
    metadata.push_back(
        {{"key", entry.key}, {"type", entry.type}, {"count", entry.count}, {"value", entry.value}});
  }
  return metadata;
}

}  // namespace

std::string model_text(const ModelProfile& profile, const std::vector<MetadataEntry>& entries) {
  std::string out;
  add_summary(out, profile);
  add_types(out, profile);
  add_tensors(out, profile);
  add_metadata(out, entries);
  return out;
}

std::string parameters_text(std::uint64_t count) {
  const auto value = static_cast<double>(count);
  for (const auto& [unit, name] : {std::pair{1e12, "trillion"}, {1e9, "billion"}, {1e6, "million"}}) {
    if (value >= unit * 0.99995) return fmt::format("{:.1f} {}", value / unit, name);
  }
  return fmt::format("{}", count);
}

nlohmann::json model_json(const ModelProfile& profile, const std::vector<MetadataEntry>& entries) {
  return {{"name", profile.name},
          {"architecture", profile.architecture},
          {"parameters", profile.parameters},
          {"weight_bytes", profile.weight_bytes().value},
          {"layers", profile.layers},
          {"embedding", profile.embedding},
          {"train_context", profile.train_context},
          {"vocabulary", profile.vocabulary},
          {"chat_template", !profile.chat_template.empty()},
          {"files", files_json(profile)},
          {"types", types_json(profile)},
          {"tensors", tensors_json(profile)},
          {"metadata", metadata_json(entries)}};
}

std::string json_text(const nlohmann::json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace brimful::cli

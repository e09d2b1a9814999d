#include "cli/answer_settings.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "model/file_fingerprint.h"

namespace brimful::cli {
namespace {

/// Describes a file for people so that it can be told from others: `a.gguf (58.1 MiB, 1f2e3d4c)`.
std::string shown(const std::filesystem::path& path, const std::string& fingerprint, std::size_t parts = 1) {
  const std::size_t dash = fingerprint.find('-');
  const Bytes size{std::stoull(fingerprint.substr(dash + 1))};
  const std::string more = parts > 1 ? fmt::format("{} parts, ", parts) : "";
  return fmt::format("{} ({}{}, {})", path.filename().string(), more, format_bytes(size),
                     fingerprint.substr(0, 8));
}

/// Makes the setting of adapters. Their order counts, because they are added one after the other.
Result<batch::Setting> adapters(const char* flag, const std::vector<engine::AdapterOption>& given) {
  batch::Setting out{flag, "", ""};
  for (const engine::AdapterOption& adapter : given) {
    BRIMFUL_TRY(const std::string content, model::file_fingerprint(adapter.path));
    const char* const separator = out.value.empty() ? "" : ", ";
    out.value += fmt::format("{}{} x{:g}", separator, content, adapter.scale);
    out.shown += fmt::format("{}{} x{:g}", separator, shown(adapter.path, content), adapter.scale);
  }
  return out;
}

std::string text_of(const std::optional<std::uint32_t>& number) {
  return number ? std::to_string(*number) : std::string();
}

}  // namespace

Result<batch::Settings> answer_settings(const RunOptions& options, const engine::OpenOptions& open,
                                        const std::string& served_name) {
  batch::Settings out;
  BRIMFUL_TRY(const model::ModelProfile model, model::read_model(open.model));
  BRIMFUL_TRY(const std::string content, model::model_fingerprint(model.files));
  out.push_back({"-m", content, shown(model.files.front().path, content, model.files.size())});
  BRIMFUL_TRY(batch::Setting loras, adapters("--lora", open.loras));
  BRIMFUL_TRY(batch::Setting vectors, adapters("--control-vector", open.control_vectors));
  out.push_back(std::move(loras));
  out.push_back(std::move(vectors));
  BRIMFUL_TRY(const std::string given_template, chat_template(options));
  batch::Setting chat{"--chat-template-file", "", ""};
  if (options.chat_template_file && given_template != model.chat_template) {
    Hash64 hash;
    hash.add(given_template);
    chat.value = fmt::format("{:016x}", hash.value());
    chat.shown = fmt::format("{} ({})", *options.chat_template_file, chat.value.substr(0, 8));
  }
  out.push_back(std::move(chat));
  out.push_back({"-c", text_of(options.context), ""});
  out.push_back({"-b", text_of(options.batch), ""});
  out.push_back({"-ub", text_of(options.ubatch), ""});
  out.push_back({"-ctk", options.type_k, ""});
  out.push_back({"-ctv", options.type_v, ""});
  out.push_back({"-fa", options.flash_attention, ""});
  if (!served_name.empty()) out.push_back({batch::kServedName, served_name, ""});
  return out;
}

}  // namespace brimful::cli

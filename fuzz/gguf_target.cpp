// A libFuzzer target for all code that reads a GGUF header before libllama does, and for ggml's own parser
// on the headers that pass. Besides the sanitizers' findings, it aborts when a promise is broken.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "base/check.h"
#include "cli/model_listing.h"
#include "ggml_check.h"
#include "input.h"
#include "model/metadata.h"
#include "model/model_profile.h"
#include "model_files.h"
#include "placement_check.h"

namespace brimful::fuzz {
namespace {

using model::GgufHeader;
using model::ModelProfile;
using model::NeedMore;
using model::TensorInfo;
using model::Weights;

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7F;
}

/// Checks that an error is one line without control characters.
void check_error(const Error& error) {
  BRIMFUL_CHECK(!error.message.empty() && error.message.size() < 1000);
  for (const char c : error.message) BRIMFUL_CHECK(!is_control(c));
}

/// Checks that the reader, given a part of a good header, asks for more, and never for more than there is.
void check_prefix(std::span<const std::byte> bytes, const GgufHeader& header, std::uint64_t choice) {
  const std::size_t size =
      choice % std::min<std::uint64_t>(bytes.size(), header.keys.empty() ? 24 : header.keys.back().end);
  const auto parsed = model::parse_gguf(bytes.first(size), header.end());
  BRIMFUL_CHECK(parsed);
  const auto* const need = std::get_if<NeedMore>(&*parsed);
  BRIMFUL_CHECK(need != nullptr && need->bytes > size && need->bytes <= header.end());
}

/// Returns the part when its header is good and complete.
std::optional<Part> parse_part(std::span<const std::byte> bytes, Weights weights, std::uint64_t choice) {
  if (const auto as_it_is = model::parse_gguf(bytes, bytes.size()); !as_it_is) check_error(as_it_is.error());
  const auto cut = model::parse_gguf(bytes, bytes.size(), Weights::kMayBeMissing);
  if (!cut) check_error(cut.error());
  const auto parsed = parse_unbounded(bytes);
  if (!parsed) {
    check_error(parsed.error());
    return std::nullopt;
  }
  const auto* const header = std::get_if<GgufHeader>(&*parsed);
  if (header == nullptr) return std::nullopt;
  const std::uint64_t end = header->end();
  check_prefix(bytes, *header, choice);
  BRIMFUL_CHECK(model::parse_gguf(bytes, end));
  BRIMFUL_CHECK(!model::parse_gguf(bytes, end - 1));
  BRIMFUL_CHECK(cut);
  return Part{bytes, weights == Weights::kRequired ? end : std::min<std::uint64_t>(end, bytes.size())};
}

void check_profile(const ModelProfile& profile) {
  Bytes sum;
  std::unordered_set<std::string_view> names;
  for (const TensorInfo& tensor : profile.tensors) {
    BRIMFUL_CHECK(names.insert(tensor.name).second);
    const std::uint64_t size = profile.files.at(tensor.file).size.value;
    BRIMFUL_CHECK(profile.weights_missing ||
                  (tensor.offset <= size && tensor.bytes.value <= size - tensor.offset));
    BRIMFUL_CHECK(tensor.row_bytes() * static_cast<std::uint64_t>(tensor.rows()) == tensor.bytes);
    sum += tensor.bytes;
  }
  BRIMFUL_CHECK(profile.find(profile.tensors.back().name) == &profile.tensors.back());
  BRIMFUL_CHECK(profile.find("") == nullptr);
  BRIMFUL_CHECK(profile.weight_bytes() == sum && sum.value > 0);
  BRIMFUL_CHECK(profile.layers > 0 && profile.embedding > 0 && !profile.architecture.empty());
}

void check_listing(const ModelProfile& profile, std::size_t max_elements) {
  const auto entries = model::read_metadata(profile, max_elements);
  BRIMFUL_CHECK(entries);
  for (const char c : cli::model_text(profile, *entries)) BRIMFUL_CHECK(c == '\n' || !is_control(c));
  BRIMFUL_CHECK(nlohmann::json::accept(cli::json_text(cli::model_json(profile, *entries))));
}

void check_input(std::span<const std::byte> input) {
  static ModelFiles files;
  const std::uint64_t choice =
      std::hash<std::string_view>{}({reinterpret_cast<const char*>(input.data()), input.size()});
  const Weights weights = choice / 8 % 2 == 0 ? Weights::kRequired : Weights::kMayBeMissing;
  std::vector<Part> parts;
  for (const auto bytes : split_input(input)) {
    const auto part = parse_part(bytes, weights, choice);
    if (!part) return;
    parts.push_back(*part);
  }
  const auto profile = model::read_model(files.write(parts), weights);
  if (!profile) return check_error(profile.error());
  check_profile(*profile);
  check_against_ggml(*profile);
  check_listing(*profile, choice % 8);
  check_placement(*profile, choice);
}

}  // namespace
}  // namespace brimful::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  brimful::fuzz::check_input(std::as_bytes(std::span(data, size)));
  return 0;
}

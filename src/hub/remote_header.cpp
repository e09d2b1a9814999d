#include "hub/remote_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string_view>

#include "hub/header_receiver.h"
#include "hub/http_headers.h"
#include "model/split_names.h"

namespace brimful::hub {
namespace {

constexpr int kMostBreaks = 5;  // The most connections that may break off after they brought some bytes.
constexpr std::uint32_t kMostParts = 1000;

/// An address in two parts: the part with the file's path, and the query and fragment after it.
struct FileAddress {
  std::string path;
  std::string rest;

  [[nodiscard]] std::string file_name() const { return path.substr(path.rfind('/') + 1); }
};

FileAddress split_address(const std::string& url) {
  const std::size_t end = std::min(url.find_first_of("?#"), url.size());
  return {url.substr(0, end), url.substr(end)};
}

Error at(const std::string& url, const Error& error, bool web_page) {
  if (!web_page) return {error.code, fmt::format("{}: {}", shown(url), error.message)};
  return {ErrorCode::kCorrupt, fmt::format("{}: is a web page, not a model: give the address that downloads "
                                           "the file (on Hugging Face with /resolve/ in place of /blob/)",
                                           shown(url))};
}

/// Asks for one range after another until the header is complete. When a connection breaks off, the next
/// request continues after the received bytes.
Status receive(Http& http, const std::string& url, HeaderReceiver& receiver) {
  int breaks = 0;
  while (!receiver.is_done()) {
    const std::uint64_t before = receiver.received();
    bool web_page = false;
    receiver.begin_answer();
    const auto answer =
        http.get(url, receiver.wanted(), [&](const Answer& now, std::span<const std::byte> bytes) {
          web_page = now.content_type.starts_with("text/html");
          return receiver.take(now, bytes);
        });
    if (answer) receiver.end_answer(*answer);
    if (receiver.error()) return std::unexpected(at(url, *receiver.error(), web_page));
    if (receiver.received() > before || receiver.is_done()) {
      if (answer || ++breaks <= kMostBreaks) continue;
    }
    if (!answer) return std::unexpected(answer.error());
    return std::unexpected(at(url, {ErrorCode::kIo, "the server sent nothing: try again later"}, false));
  }
  return {};
}

Status write(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) return {};
  return fail(ErrorCode::kIo, fmt::format("{}: cannot be written: is the disk full, or the folder read-only?",
                                          path.string()));
}

Result<std::filesystem::path> fetch_header(Http& http, const FileAddress& address,
                                           const std::filesystem::path& directory) {
  HeaderReceiver receiver;
  BRIMFUL_TRY_VOID(receive(http, address.path + address.rest, receiver));
  const std::string name = address.file_name();
  const bool is_name = !name.empty() && name != "." && name != ".." && name.size() < 200;
  std::filesystem::path path = directory / (is_name ? name : "model.gguf");
  BRIMFUL_TRY_VOID(write(path, receiver.header()));
  return path;
}

}  // namespace

Result<std::vector<std::filesystem::path>> fetch_headers(Http& http, const std::string& url,
                                                         const std::filesystem::path& directory) {
  FileAddress address = split_address(url);
  const auto split = model::parse_split_name(address.path);
  const std::uint32_t parts = split ? split->parts : 1;
  if (split && split->part != 1) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is part {} of {}: give the first part, {}", shown(url), split->part, parts,
                            shown(split->path_of(1).string())));
  }
  if (parts > kMostParts) {
    return fail(ErrorCode::kUnsupported, fmt::format("{}: is one of {} parts; at most {} are supported",
                                                     shown(url), parts, kMostParts));
  }
  std::vector<std::filesystem::path> files;
  for (std::uint32_t part = 1; part <= parts; ++part) {
    if (split) address.path = split->path_of(part).string();
    BRIMFUL_TRY(std::filesystem::path file, fetch_header(http, address, directory));
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace brimful::hub

#include "hub/json_request.h"

#include <fmt/format.h>

#include "base/json_text.h"
#include "hub/http_headers.h"

namespace brimful::hub {

Result<nlohmann::json> get_json(Http& http, const std::string& url, Bytes most, std::string& next) {
  std::string text;
  bool too_large = false;
  const Sink append = [&](const Answer&, std::span<const std::byte> bytes) {
    too_large = text.size() + bytes.size() > most.value;
    if (!too_large) text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return !too_large;
  };
  BRIMFUL_TRY(const Answer answer, http.get(url, std::nullopt, append));
  auto json = parse_json(text);
  if (too_large || !json) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: the server did not answer as a hub does: check HF_ENDPOINT", shown(url)));
  }
  next = answer.next_page;
  return std::move(*json);
}

std::string text_of(const nlohmann::json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace brimful::hub

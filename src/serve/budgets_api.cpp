#include "serve/budgets_api.h"

#include <unistd.h>

#include <chrono>

#include "base/bytes.h"
#include "control/client.h"
#include "openai/fields.h"
#include "serve/http_answer.h"

namespace brimful::serve {
namespace {

using json = nlohmann::ordered_json;
using namespace std::chrono_literals;

constexpr auto kChanging = 10min;  // The change takes long because weights are read again.
constexpr auto kTelling = 5s;

/// Reads a size: a text as people write it, or a number of bytes.
Result<std::uint64_t> bytes_of(const openai::Fields& fields, const char* name, const json& value) {
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  if (!value.is_string()) return fields.refuse(name, "must be a size such as 8GiB");
  const auto bytes = parse_bytes(value.get<std::string>());
  if (!bytes) return fields.refuse(name, bytes.error().message);
  return bytes->value;
}

HttpResponse answer(const Result<nlohmann::json>& told) {
  return told ? json_response(json(*told)) : refused(told.error());
}

}  // namespace

Result<json> budgets_request(const json& body) {
  const openai::Fields fields(body);
  json out = {{"ask", "budgets"}};
  if (const json* const ram = fields.find("ram")) {
    BRIMFUL_TRY(out["ram"], bytes_of(fields, "ram", *ram));
  }
  const json* const vram = fields.find("vram");
  if (vram != nullptr && vram->is_object()) {
    for (const auto& [name, value] : vram->items()) {
      BRIMFUL_TRY(const std::uint64_t bytes, bytes_of(fields, "vram", value));
      out["vram"].push_back({{"name", name}, {"bytes", bytes}});
    }
  } else if (vram != nullptr) {
    BRIMFUL_TRY(const std::uint64_t bytes, bytes_of(fields, "vram", *vram));
    out["vram"].push_back({{"bytes", bytes}});
  }
  if (!out.contains("ram") && !out.contains("vram"))
    return fail(ErrorCode::kInvalidArgument, "name a budget: ram, vram or both");
  return out;
}

HttpResponse change_budgets(const json& body) {
  const auto request = budgets_request(body);
  if (!request) return refused(request.error());
  return answer(control::ask(::getpid(), *request, kChanging));
}

HttpResponse tell_status() { return answer(control::ask(::getpid(), {{"ask", "status"}}, kTelling)); }

}  // namespace brimful::serve

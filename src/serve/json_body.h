#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "foreign/foreign_limits.h"
#include "serve/counted.h"
#include "serve/http_server.h"

namespace brimful::serve {

/// What the bodies that are read at the same time may take. Threading: any.
struct BodyLimits {
  Bytes one;  ///< of a body that becomes JSON
  Bytes all;
  std::atomic<std::uint64_t> taken = 0;  ///< bytes, of all
};

/// The JSON of a request, and the memory that it is counted with while it is there.
struct ReadBody {
  nlohmann::ordered_json json;
  std::shared_ptr<Counted> counted;
  std::unique_ptr<foreign::ForeignArrival> arrival;  ///< of a request in Lane::kReading
};

/// A plan for a request with a JSON object as its body, which `answer` gets in `lane`. `limits` outlives it.
[[nodiscard]] HttpPlan json_plan(BodyLimits& limits, Lane lane,
                                 std::function<HttpResponse(ReadBody body)> answer);

}  // namespace brimful::serve

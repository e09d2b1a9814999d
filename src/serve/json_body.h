#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "foreign/foreign_limits.h"
#include "serve/counted.h"
#include "serve/http_server.h"

namespace brimful::serve {

/// The limits on bodies of requests that are read at the same time. Threading: any number of threads.
struct BodyLimits {
  /// The largest size of one body that is read as JSON.
  Bytes one;
  /// The most memory that all bodies take together.
  Bytes all;
  /// The bytes that all bodies take now.
  std::atomic<std::uint64_t> taken = 0;
};

/// The JSON of a request, with the memory that is counted for it as long as this object exists.
struct ReadBody {
  nlohmann::ordered_json json;
  std::shared_ptr<Counted> counted;
  /// Set for a request in Lane::kReading.
  std::unique_ptr<foreign::ForeignArrival> arrival;
};

/// Makes a plan for a request whose body is a JSON object. `answer` gets the object, and runs in `lane`. A
/// body that is no JSON object, or for which too little memory is left, is refused. Lifetime: `limits`
/// outlives the plan.
[[nodiscard]] HttpPlan json_plan(BodyLimits& limits, Lane lane,
                                 std::function<HttpResponse(ReadBody body)> answer);

}  // namespace brimful::serve

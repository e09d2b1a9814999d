#include "serve/json_body.h"

#include <fmt/format.h>

#include "base/json_text.h"
#include "serve/http_answer.h"

namespace brimful::serve {
namespace {

constexpr std::uint64_t kValue = 32;            // The approximate bytes that a parsed JSON value takes.
constexpr std::uint64_t kMostValues = 250'000;  // The most values of a body.
constexpr std::uint64_t kCopies = 2;            // The number of copies of its text while it is parsed.

/// Returns an upper bound for the number of values in a JSON text, without parsing it.
std::uint64_t values_in(std::string_view text) {
  std::uint64_t count = 1;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') quoted = !quoted;
    if (quoted && c == '\\') ++i;
    if (!quoted && (c == ',' || c == ':' || c == '[' || c == '{')) ++count;
  }
  return count;
}

class JsonTask final : public HttpTask {
 public:
  JsonTask(BodyLimits& limits, Lane lane, std::function<HttpResponse(ReadBody body)> answer)
      : limits_(limits),
        lane_(lane),
        answer_(std::move(answer)),
        counted_(std::make_shared<Counted>(limits.taken)) {}

  std::optional<HttpResponse> take(std::string_view piece) override {
    if (Bytes{counted_->add(piece.size())} > limits_.all) return refused(too_many());
    text_ += piece;
    return std::nullopt;
  }

  void body_is_complete() override {
    if (lane_ == Lane::kReading) arrival_ = std::make_unique<foreign::ForeignArrival>();
  }

  HttpResponse answer() override {
    auto body = read();
    return body ? answer_(std::move(*body)) : refused(body.error());
  }

 private:
  static Error too_many() {
    return {ErrorCode::kBudgetExceeded, "too many large requests at the same time: try again"};
  }

  Result<ReadBody> read() {
    const std::string text = std::move(text_);
    const std::uint64_t values = values_in(text);
    if (values > kMostValues)
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("the body has more than {} values, counting each number of an array", kMostValues));
    if (Bytes{counted_->add(values * kValue + kCopies * text.size())} > limits_.all)
      return std::unexpected(too_many());
    auto body = parse_ordered_json(text);
    if (!body) return fail(body.error().code, fmt::format("the body: {}", body.error().message));
    if (!body->is_object()) return fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
    return ReadBody{std::move(*body), std::move(counted_), std::move(arrival_)};
  }

  BodyLimits& limits_;
  const Lane lane_;
  const std::function<HttpResponse(ReadBody body)> answer_;
  std::shared_ptr<Counted> counted_;
  std::string text_;
  std::unique_ptr<foreign::ForeignArrival> arrival_;
};

}  // namespace

HttpPlan json_plan(BodyLimits& limits, Lane lane, std::function<HttpResponse(ReadBody body)> answer) {
  HttpPlan out;
  out.task = std::make_unique<JsonTask>(limits, lane, std::move(answer));
  out.lane = lane;
  out.largest_body = limits.one.value;
  out.is_json = true;
  return out;
}

}  // namespace brimful::serve

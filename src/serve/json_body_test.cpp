#include "serve/json_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/budgets_api.h"
#include "serve/http_answer.h"

namespace brimful::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using json = nlohmann::ordered_json;

/// Sends `body` in pieces of `piece` bytes to a plan that answers with the JSON that it got.
HttpResponse answer_to(std::string_view body, BodyLimits& limits, std::size_t piece = SIZE_MAX) {
  const HttpPlan plan =
      json_plan(limits, Lane::kFiles, [](const ReadBody& read) { return json_response(read.json); });
  for (std::size_t at = 0; at < body.size(); at += std::min(piece, body.size() - at)) {
    if (auto early = plan.task->take(body.substr(at, piece))) return *early;
  }
  plan.task->body_is_complete();
  return plan.task->answer();
}
HttpResponse answer_to(std::string_view body, std::size_t piece = SIZE_MAX) {
  BodyLimits limits{.one = kMiB, .all = kGiB};
  HttpResponse out = answer_to(body, limits, piece);
  EXPECT_EQ(limits.taken, 0U) << "memory of the body is still counted";
  return out;
}
std::string message_of(const HttpResponse& response) {
  return json::parse(response.body)["error"]["message"].get<std::string>();
}

TEST(JsonBody, AnObjectReachesTheAnswerInAnyPieces) {
  const std::string body = R"({"z": [1, "a,b:{\"[", null], "a": {}})";
  for (const std::size_t piece : {1UL, 7UL, SIZE_MAX}) {
    const HttpResponse response = answer_to(body, piece);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, R"({"z":[1,"a,b:{\"[",null],"a":{}})") << "the client's order is kept";
  }
}

TEST(JsonBody, WhatIsNoJsonObjectIsRefused) {
  for (const char* const wrong :
       {"", " ", "[]", "1", "\"text\"", "null", "{", "{}{}", "{\"a\": \"\xff\"}", "{'a': 1}"}) {
    const HttpResponse response = answer_to(wrong);
    EXPECT_EQ(response.status, 400) << wrong;
    EXPECT_THAT(message_of(response), StartsWith("the body")) << wrong;
  }
}

TEST(JsonBody, DeepNestingIsRefused) {
  EXPECT_EQ(answer_to("{\"a\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}").status, 400);
}

TEST(JsonBody, TooManyValuesAreRefusedBeforeTheyAreParsed) {
  std::string many = "{\"a\": [1";
  for (int i = 0; i < 250'000; ++i) many += ",1";
  const HttpResponse response = answer_to(many + "]}");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(message_of(response), HasSubstr("250000 values"));
  EXPECT_EQ(answer_to(R"({"a": "\"\\)" + std::string(400'000, ',') + "\"}").status, 200)
      << "commas in a string are no values, behind a quotation mark in it neither";
}

TEST(JsonBody, AllBodiesTogetherAreBounded) {
  BodyLimits limits{.one = kMiB, .all = Bytes{1000}};
  limits.taken = 990;  // another body
  EXPECT_EQ(answer_to(R"({"a": 1})", limits).status, 429) << "it fits, but not what is parsed of it";
  EXPECT_EQ(answer_to(std::string(11, ' '), limits, 1).status, 429);
  EXPECT_EQ(limits.taken, 990U);
  limits.taken = 0;
  EXPECT_EQ(answer_to(R"({"a": 1})", limits).status, 200);
}

TEST(JsonBody, MemoryIsCountedAsLongAsTheBodyIsThere) {
  BodyLimits limits{.one = kMiB, .all = kGiB};
  std::optional<ReadBody> kept;
  HttpPlan plan = json_plan(limits, Lane::kFiles, [&](ReadBody body) {
    kept = std::move(body);
    return HttpResponse{};
  });
  ASSERT_FALSE(plan.task->take(R"({"a": 1})"));
  EXPECT_GE(limits.taken, 8U);
  plan.task->body_is_complete();
  EXPECT_EQ(plan.task->answer().status, 200);
  plan.task.reset();
  EXPECT_GT(limits.taken, 8U);
  kept.reset();
  EXPECT_EQ(limits.taken, 0U);
}

TEST(JsonPlan, OneBodyHasItsOwnLimit) {
  BodyLimits limits{.one = Bytes{123}, .all = kGiB};
  const HttpPlan plan = json_plan(limits, Lane::kReading, [](const ReadBody&) { return HttpResponse{}; });
  EXPECT_EQ(plan.largest_body, 123U);
  EXPECT_TRUE(plan.is_json);
  EXPECT_EQ(plan.lane, Lane::kReading);
}

std::string budgets(const json& body) {
  const auto request = budgets_request(body);
  if (request) return request->dump();
  EXPECT_EQ(request.error().code, ErrorCode::kInvalidArgument);
  return request.error().message;
}

TEST(BudgetsRequest, SizesBecomeBytes) {
  EXPECT_EQ(budgets({{"ram", "1KiB"}}), R"({"ask":"budgets","ram":1024})");
  EXPECT_EQ(budgets({{"ram", 7U}, {"vram", "1KiB"}}), R"({"ask":"budgets","ram":7,"vram":[{"bytes":1024}]})");
  EXPECT_EQ(budgets({{"vram", {{"CUDA0", "1KiB"}, {"CUDA1", 9U}}}}),
            R"({"ask":"budgets","vram":[{"name":"CUDA0","bytes":1024},{"name":"CUDA1","bytes":9}]})");
}

TEST(BudgetsRequest, WhatIsNoSizeIsNamedByItsField) {
  for (const json& wrong : {json(-1), json(1.5), json(true), json("much"), json(""), json::array()}) {
    EXPECT_THAT(budgets({{"ram", wrong}}), StartsWith("ram: ")) << wrong;
    EXPECT_THAT(budgets({{"vram", wrong}}), StartsWith("vram: ")) << wrong;
    EXPECT_THAT(budgets({{"vram", {{"CUDA0", wrong}}}}), StartsWith("vram: ")) << wrong;
  }
}

TEST(BudgetsRequest, ABodyWithoutABudgetIsRefusedAndAsksNobody) {
  for (const json& body : {json::object(), json{{"ram", nullptr}}, json{{"vram", json::object()}}}) {
    EXPECT_THAT(budgets(body), HasSubstr("name a budget: ram, vram or both"));
    EXPECT_EQ(change_budgets(body).status, 400);
  }
}

TEST(StatusOf, EachErrorHasTheStatusThatClientsActOn) {
  EXPECT_EQ(status_of({ErrorCode::kInvalidArgument, ""}), 400);
  EXPECT_EQ(status_of({ErrorCode::kNotFound, ""}), 404);
  EXPECT_EQ(status_of({ErrorCode::kInfeasible, ""}), 409);
  EXPECT_EQ(status_of({ErrorCode::kBudgetExceeded, ""}), 429) << "try again";
  EXPECT_EQ(status_of({ErrorCode::kCancelled, ""}), 503);
  EXPECT_EQ(status_of({ErrorCode::kNoSpace, ""}), 507);
  EXPECT_EQ(status_of({ErrorCode::kInternal, ""}), 500);
  EXPECT_EQ(status_of({ErrorCode::kIo, ""}), 500);
}

}  // namespace
}  // namespace brimful::serve

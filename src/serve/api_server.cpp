#include "serve/api_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "openai/fields.h"
#include "serve/answer_source.h"
#include "serve/budgets_api.h"
#include "serve/http_answer.h"

namespace brimful::serve {
namespace {

using Json = nlohmann::ordered_json;

// The longest time for slow clients to take their answers at the end.
constexpr std::chrono::seconds kForAnswers{60};
constexpr std::string_view kPublic[] = {"/health", "/v1/health"};  // The paths that need no key.

HttpResponse unavailable(const char* why) {
  HttpResponse out = refused({ErrorCode::kCancelled, why});
  out.close = true;
  return out;
}

}  // namespace

ApiServer::ApiServer(Listener listener, ServerOptions options, const engine::Engine& engine,
                     const openai::ApiReader& reader, std::string model, RequestQueue& request_queue,
                     const MetricsSnapshot& metrics, FileStore* store)
    : options_(std::move(options)),
      access_(options_.access),
      engine_(engine),
      reader_(reader),
      model_(std::move(model)),
      started_(unix_time()),
      most_tokens_(std::min(llama_n_ctx(engine.context()), options_.longest_text)),
      request_queue_(request_queue),
      metrics_(metrics),
      bodies_{options_.largest_body, options_.largest_bodies} {
  if (store != nullptr) files_api_.emplace(*store, bodies_, options_.largest_file);
  add_endpoints();
  HttpHandler& handler = *this;
  http_.emplace(std::move(listener), options_.http, handler);
}

ApiServer::~ApiServer() {
  stopping_ = true;
  http_->stop(kForAnswers);
}

// --- What HttpServer asks ---

std::optional<HttpResponse> ApiServer::refuse_client(const HttpRequest& request) const {
  if (const auto refusal = access_.check_origin(request))
    return refused(refusal->status, {ErrorCode::kInvalidArgument, refusal->why});
  if (auto answer = access_.preflight(request)) return answer;
  if (std::ranges::find(kPublic, request.path) != std::end(kPublic)) return std::nullopt;
  const auto refusal = access_.check_key(request);
  if (!refusal) return std::nullopt;
  Json body = openai::error_body({ErrorCode::kInvalidArgument, refusal->why});
  body["error"]["type"] = "authentication_error";
  body["error"]["code"] = "invalid_api_key";
  HttpResponse out = json_response(body, refusal->status);
  out.set("WWW-Authenticate", "Bearer");
  return out;
}

std::variant<HttpResponse, HttpPlan> ApiServer::begin(const HttpRequest& request) {
  if (auto refused_client = refuse_client(request)) return std::move(*refused_client);
  if (!loaded_) {
    HttpResponse out = unavailable("the model is being loaded");
    out.set("Retry-After", "1");
    return out;
  }
  if (stopping_) return unavailable("the server is stopping");
  const HttpRoutes::Found found = routes_.find(request);
  if (found.make != nullptr) {
    HttpPlan plan = (*found.make)(request, found.place);
    const auto refusal = plan.is_json ? access_.check_json(request) : std::nullopt;
    if (refusal) return refused(refusal->status, {ErrorCode::kInvalidArgument, refusal->why});
    if (const std::string encoding = lower_case(request.field("content-encoding"));
        !encoding.empty() && encoding != "identity")
      return refused(
          415, {ErrorCode::kInvalidArgument,
                fmt::format("the body has Content-Encoding {}: send it without an encoding", encoding)});
    return plan;
  }
  if (found.allowed.empty() && request.path != "*") {
    return refused(
        {ErrorCode::kNotFound,
         fmt::format("there is no {} {} here; OpenAI's API is at /v1/chat/completions, /v1/completions, "
                     "/v1/embeddings and /v1/models",
                     request.method, request.path)});
  }
  HttpResponse out{.status = 204};
  if (request.method != "OPTIONS")
    out =
        refused(405, {ErrorCode::kInvalidArgument, fmt::format("{} {} is not supported: this path takes {}",
                                                               request.method, request.path, found.allowed)});
  if (!found.allowed.empty()) out.set("Allow", found.allowed);
  return out;
}

HttpResponse ApiServer::refusal(int status, const std::string& why) {
  return refused(status, {status == 500 ? ErrorCode::kInternal : ErrorCode::kInvalidArgument, why});
}

void ApiServer::add_fields(const HttpRequest& request, HttpResponse& response) {
  access_.add_fields(request, response);
  response.set("X-Content-Type-Options", "nosniff");
}

// --- Endpoints ---

void ApiServer::add_endpoints() {
  for (const std::string_view path : kPublic) {
    routes_.add("GET", std::string(path), Lane::kNow, [](const HttpRequest&, const std::string&) {
      return json_response(Json{{"status", "ok"}});
    });
  }
  routes_.add("GET", "/metrics", Lane::kNow, [this](const HttpRequest&, const std::string&) {
    HttpResponse out;
    out.set("Content-Type", "text/plain; version=0.0.4");
    out.body = metrics_text(metrics_.read());
    return out;
  });
  routes_.add("GET", "/v1/models", Lane::kNow, [this](const HttpRequest&, const std::string&) {
    return json_response(Json{{"object", "list"}, {"data", Json::array({model_json()})}});
  });
  routes_.add("GET", "/v1/models/{...}", Lane::kNow, [this](const HttpRequest&, const std::string& id) {
    if (id == model_) return json_response(model_json());
    return refused(
        {ErrorCode::kNotFound, fmt::format("there is no model '{}' here; the model is {}", id, model_)});
  });
  const auto post = [this](const char* path, Lane lane, std::function<HttpResponse(ReadBody)> answer) {
    routes_.add("POST", path,
                [this, lane, answer = std::move(answer)](const HttpRequest&, const std::string&) {
                  return json_plan(bodies_, lane, answer);
                });
  };
  for (const char* const path : {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"}) {
    post(path, Lane::kReading, [this, endpoint = *openai::endpoint_of(path)](ReadBody body) {
      return answer(endpoint, std::move(body));
    });
  }
  post("/tokenize", Lane::kReading, [this](const ReadBody& body) {
    const auto tokens = reader_.tokenize(body.json);
    return tokens ? json_response(Json{{"tokens", *tokens}}) : refused(tokens.error());
  });
  post("/brimful/budgets", Lane::kControl, [](const ReadBody& body) { return change_budgets(body.json); });
  routes_.add("GET", "/brimful/status", Lane::kFiles,
              [](const HttpRequest&, const std::string&) { return tell_status(); });
  if (files_api_) files_api_->add_endpoints(routes_);
}

Json ApiServer::model_json() const {
  const model::ModelProfile& profile = engine_.profile();
  return {{"id", model_},
          {"object", "model"},
          {"created", started_},
          {"owned_by", "brimful"},
          {"max_model_len", most_tokens_},
          {"meta",
           {{"n_ctx", most_tokens_},
            {"n_vocab", llama_vocab_n_tokens(engine_.vocab())},
            {"n_ctx_train", profile.train_context},
            {"n_embd", profile.embedding},
            {"size", profile.weight_bytes().value}}}};
}

Result<openai::ApiRequest> ApiServer::read(openai::Endpoint endpoint, const ReadBody& body) const {
  const foreign::ForeignTime time(*body.arrival);
  BRIMFUL_TRY(openai::ApiRequest out, reader_.read(endpoint, body.json));
  BRIMFUL_TRY_VOID(reader_.check_grammar(out));
  return out;
}

HttpResponse ApiServer::answer(openai::Endpoint endpoint, ReadBody body) {
  Result<openai::ApiRequest> read = this->read(endpoint, body);
  body = {};  // The body is freed now, because the answer may take long.
  if (!read) return refused(read.error());
  if (read->longest_prompt() > most_tokens_) {
    return refused(
        {ErrorCode::kInvalidArgument, fmt::format("the prompt has {} tokens and the context holds {}",
                                                  read->longest_prompt(), most_tokens_)});
  }
  auto response = request_queue_.put(std::move(*read));
  if (!response) {
    HttpResponse out = refused(response.error());
    const double wait = std::ceil(metrics_.read().request_seconds);
    out.set("Retry-After", std::to_string(static_cast<int>(std::clamp(wait, 1.0, 60.0))));
    return out;
  }
  const std::string_view kind = endpoint == openai::Endpoint::kChat ? "chatcmpl" : "cmpl";
  openai::AnswerHead head{fmt::format("{}-{}-{}", kind, started_, ++number_), model_, unix_time()};
  HttpResponse out;
  out.set("Content-Type", "text/event-stream");
  out.set("Cache-Control", "no-cache");
  out.set("X-Accel-Buffering", "no");  // A proxy (nginx) then passes on each event at once.
  out.source = std::make_shared<AnswerSource>(std::move(*response), std::move(head), reader_.vocab());
  return out;
}

}  // namespace brimful::serve

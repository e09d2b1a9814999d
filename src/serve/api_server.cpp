#include "serve/api_server.h"

#include <cpp-httplib/httplib.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "batch/api_fields.h"
#include "batch/api_stream.h"
#include "serve/budgets_api.h"
#include "serve/connection_threads.h"
#include "serve/counted.h"
#include "serve/http_answer.h"

namespace strata::serve {
namespace {

using nlohmann::json;
using Json = nlohmann::ordered_json;

constexpr std::chrono::seconds kBetweenBytes{30};    // a client may be silent in a request,
constexpr std::chrono::seconds kBetweenRequests{5};  // and before the next one
constexpr std::chrono::seconds kUntilStream{10};     // an error has its own status until then
constexpr std::chrono::seconds kBetweenSigns{15};    // of life, so that nobody on the way hangs up
constexpr std::chrono::seconds kForStreams{60};      // to be taken by slow readers, at the end
constexpr std::uint64_t kValue = 32;                 // bytes that a value takes once JSON is read, about
constexpr std::uint64_t kMostValues = 250'000;       // of a body
constexpr std::uint64_t kCopies = 2;                 // of its texts, while it is read
constexpr std::string_view kPublic[] = {"/health", "/v1/health"};  // whoever asks

/// Takes as long for a wrong key as for the right one.
bool same(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  int differ = 0;
  for (std::size_t i = 0; i < a.size(); ++i) differ |= a[i] ^ b[i];
  return differ == 0;
}

/// Of a JSON text, before it is read: at most so many.
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

}  // namespace

Listener::Listener() : http_(std::make_unique<httplib::Server>()) {}
Listener::Listener(Listener&&) noexcept = default;
Listener::~Listener() = default;

Result<Listener> Listener::bind(const std::string& host, int port) {
  Listener out;
  httplib::Server& http = *out.http_;
  // One server at an address: a second one is to fail, not to take turns with the first.
  http.set_socket_options(
      [](socket_t socket) { httplib::set_socket_opt(socket, SOL_SOCKET, SO_REUSEADDR, 1); });
  out.port_ = port == 0 ? http.bind_to_any_port(host) : http.bind_to_port(host, port) ? port : -1;
  if (out.port_ >= 0) return out;
  return fail(
      ErrorCode::kIo,
      fmt::format("cannot listen on {}:{}: another program has this port, or the host has no such address; "
                  "choose others with --host and --port",
                  host, port));
}

ApiServer::ApiServer(Listener listener, ServerOptions options, const engine::Engine& engine,
                     const batch::ApiReader& reader, std::string model, Inbox& inbox, const Board& board,
                     Archive* archive)
    : options_(std::move(options)),
      engine_(engine),
      reader_(reader),
      model_(std::move(model)),
      started_(unix_time()),
      most_tokens_(llama_n_ctx(engine.context())),
      inbox_(inbox),
      board_(board),
      http_(std::move(listener.http_)) {
  http_->new_task_queue = [most = options_.most_connections] { return new ConnectionThreads(most); };
  http_->set_payload_max_length(std::max(options_.largest_body, options_.largest_file).value);
  http_->set_read_timeout(kBetweenBytes);
  http_->set_write_timeout(kBetweenBytes);
  http_->set_keep_alive_timeout(kBetweenRequests.count());
  if (archive != nullptr)
    archive_api_.emplace(
        *archive, [this](const httplib::ContentReader& content) { return read_body(content); },
        [this] { return std::make_shared<Counted>(streams_, 1); });
  add_checks();
  add_endpoints();
  thread_ = std::thread([this] { http_->listen_after_bind(); });
  http_->wait_until_ready();
}

/// httplib cuts off what is sent in pieces when it is told to stop.
ApiServer::~ApiServer() {
  stopping_ = true;
  const auto end = std::chrono::steady_clock::now() + kForStreams;
  while (streams_ > 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  http_->stop();
  thread_.join();
}

bool ApiServer::may_use(const httplib::Request& request) const {
  if (options_.api_keys.empty() || std::ranges::find(kPublic, request.path) != std::end(kPublic)) return true;
  std::string given = request.get_header_value("X-Api-Key");
  constexpr std::string_view kBearer = "Bearer ";
  if (const std::string header = request.get_header_value("Authorization"); header.starts_with(kBearer))
    given = header.substr(kBearer.size());
  return std::ranges::any_of(options_.api_keys, [&](const std::string& key) { return same(key, given); });
}

/// Before its body is read.
bool ApiServer::refuse_at_once(const httplib::Request& request, httplib::Response& response) const {
  const Bytes most = request.path == "/v1/files" ? options_.largest_file : options_.largest_body;
  if (!loaded_) {
    response.set_header("Retry-After", "1");
    refuse(response, {ErrorCode::kCancelled, "the model is being loaded"});
  } else if (stopping_) {
    refuse(response, {ErrorCode::kCancelled, "the server is stopping"});
  } else if (request.get_header_value_u64("Content-Length") > most.value) {
    refuse(
        response, httplib::PayloadTooLarge_413,
        {ErrorCode::kInvalidArgument, fmt::format("the body is too large: {} at most", format_bytes(most))});
  } else {
    return false;
  }
  response.set_header("Connection", "close");
  return true;
}

void ApiServer::add_checks() {
  http_->set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    using Answer = httplib::Server::HandlerResponse;
    if (may_use(request)) return refuse_at_once(request, response) ? Answer::Handled : Answer::Unhandled;
    Json body = batch::error_body({ErrorCode::kInvalidArgument, "the API key is missing or wrong"});
    body["error"]["type"] = "authentication_error";
    body["error"]["code"] = "invalid_api_key";
    answer_json(response, body, httplib::Unauthorized_401);
    return Answer::Handled;
  });
  http_->set_error_handler([](const httplib::Request& request, httplib::Response& response) {
    if (!response.body.empty()) return httplib::Server::HandlerResponse::Unhandled;
    std::string why = "the request cannot be understood";
    if (response.status == httplib::NotFound_404)
      why = fmt::format("there is no {} {} here", request.method, request.path);
    if (response.status == httplib::PayloadTooLarge_413) why = "the body is too large";
    refuse(response, response.status, {ErrorCode::kInvalidArgument, why});
    return httplib::Server::HandlerResponse::Handled;
  });
  http_->set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, std::exception_ptr thrown) {
        std::string what = "out of memory";
        try {
          std::rethrow_exception(thrown);
        } catch (const std::exception& error) {
          what = error.what();
        }
        refuse(response, {ErrorCode::kInternal, what});
      });
}

void ApiServer::add_endpoints() {
  using Request = httplib::Request;
  using Response = httplib::Response;
  for (const std::string_view path : kPublic) {
    http_->Get(std::string(path), [](const Request&, Response& response) {
      answer_json(response, {{"status", "ok"}});
    });
  }
  http_->Get("/metrics", [this](const Request&, Response& response) {
    response.set_content(metrics_text(board_.read()), "text/plain; version=0.0.4");
  });
  http_->Get("/v1/models", [this](const Request&, Response& response) {
    answer_json(response, {{"object", "list"}, {"data", Json::array({model_json()})}});
  });
  http_->Get("/v1/models/(.+)", [this](const Request& request, Response& response) {
    if (request.matches[1] == model_) return answer_json(response, model_json());
    refuse(response, {ErrorCode::kNotFound,
                      fmt::format("there is no model '{}' here, but {}", request.matches[1].str(), model_)});
  });
  const auto post = [this](const char* path, auto handle) {
    http_->Post(path, [this, handle](const Request& request, Response& response,
                                     const httplib::ContentReader& content) {
      auto body = read_body(content);
      if (body) return handle(request, response, std::move(*body));
      // What is left of the body is not read.
      response.set_header("Connection", "close");
      refuse(response, body.error());
    });
  };
  for (const char* const path : {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"}) {
    post(path, [this, endpoint = *batch::endpoint_of(path)](const Request& request, Response& response,
                                                            ReadBody body) {
      answer(endpoint, request, response, std::move(body));
    });
  }
  post("/tokenize", [this](const Request&, Response& response, const ReadBody& body) {
    const auto tokens = reader_.tokenize(body.json);
    if (!tokens) return refuse(response, tokens.error());
    answer_json(response, {{"tokens", *tokens}});
  });
  post("/strata/budgets",
       [](const Request&, Response& response, const ReadBody& body) { change_budgets(response, body.json); });
  http_->Get("/strata/status", [](const Request&, Response& response) { tell_status(response); });
  if (archive_api_) archive_api_->add_endpoints(*http_);
  // Last: what nobody wants is not read into memory.
  const auto nothing_here = [](const Request& request, Response& response, const httplib::ContentReader&) {
    response.set_header("Connection", "close");
    refuse(response,
           {ErrorCode::kNotFound, fmt::format("there is no {} {} here", request.method, request.path)});
  };
  http_->Post(".*", nothing_here);
  http_->Put(".*", nothing_here);
  http_->Patch(".*", nothing_here);
  http_->Delete(".*", nothing_here);
}

Json ApiServer::model_json() const {
  const model::ModelProfile& profile = engine_.profile();
  return {{"id", model_},
          {"object", "model"},
          {"created", started_},
          {"owned_by", "strata"},
          {"max_model_len", most_tokens_},
          {"meta",
           {{"n_ctx", most_tokens_},
            {"n_vocab", llama_vocab_n_tokens(engine_.vocab())},
            {"n_ctx_train", profile.train_context},
            {"n_embd", profile.embedding},
            {"size", profile.weight_bytes().value}}}};
}

/// Errors: kInvalidArgument; kBudgetExceeded where too many bodies are read.
Result<ReadBody> ApiServer::read_body(const httplib::ContentReader& content) {
  ReadBody out{{}, std::make_shared<Counted>(bodies_)};
  const Error too_many{ErrorCode::kBudgetExceeded,
                       "too many large requests are read at the same time: try again"};
  std::string text;
  std::optional<Error> error;
  const bool whole = content([&](const char* data, std::size_t size) {
    if (Bytes{text.size() + size} > options_.largest_body) {
      error = Error{ErrorCode::kInvalidArgument,
                    fmt::format("the body is too large: {} at most", format_bytes(options_.largest_body))};
      return false;
    }
    if (Bytes{out.counted->add(size)} > options_.largest_bodies) {
      error = too_many;
      return false;
    }
    text.append(data, size);
    return true;
  });
  if (error) return std::unexpected(*error);
  if (!whole) return fail(ErrorCode::kInvalidArgument, "the body did not come whole, or is too large");
  const std::uint64_t values = values_in(text);
  if (values > kMostValues)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the body holds more than {} values, numbers of arrays included", kMostValues));
  if (Bytes{out.counted->add(values * kValue + kCopies * text.size())} > options_.largest_bodies)
    return std::unexpected(too_many);
  auto body = parse_json(text);
  if (!body) return fail(body.error().code, fmt::format("the body: {}", body.error().message));
  if (!body->is_object()) return fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
  out.json = std::move(*body);
  return out;
}

void ApiServer::answer(batch::Endpoint endpoint, const httplib::Request& request, httplib::Response& response,
                       ReadBody body) {
  Result<batch::ApiRequest> read = reader_.read(endpoint, body.json);
  body = {};  // it may be long until the answer is there
  if (!read) return refuse(response, read.error());
  if (const Status checked = reader_.check_grammar(*read); !checked) return refuse(response, checked.error());
  if (read->longest_prompt() > most_tokens_) {
    return refuse(response, {ErrorCode::kInvalidArgument,
                             fmt::format("the prompt has {} tokens and the context holds {}",
                                         read->longest_prompt(), most_tokens_)});
  }
  // Counted before anybody can answer it.
  const auto stream = read->stream ? std::make_shared<Counted>(streams_, 1) : nullptr;
  auto ticket = inbox_.put(std::move(*read));
  if (!ticket) {
    const double wait = std::ceil(board_.read().request_seconds);
    response.set_header("Retry-After", std::to_string(static_cast<int>(std::clamp(wait, 1.0, 60.0))));
    return refuse(response, ticket.error());
  }
  (*ticket)->watch(request.is_connection_closed);
  const std::string_view kind = endpoint == batch::Endpoint::kChat ? "chatcmpl" : "cmpl";
  batch::AnswerHead head{fmt::format("{}-{}-{}", kind, started_, ++number_), model_, unix_time()};
  if (stream) return answer_in_pieces(std::move(*ticket), std::move(head), response, stream);
  answer_whole(*ticket, head, response);
}

void ApiServer::answer_whole(const std::shared_ptr<Ticket>& ticket, const batch::AnswerHead& head,
                             httplib::Response& response) {
  const Ticket::News news = ticket->wait();
  ticket->leave();
  if (!*news.end) return refuse(response, news.end->error());
  answer_json(response, batch::answer_body(head, ticket->request(), **news.end, reader_.vocab()));
}

void ApiServer::answer_in_pieces(std::shared_ptr<Ticket> ticket, batch::AnswerHead head,
                                 httplib::Response& response, std::shared_ptr<Counted> open) {
  // An error that comes before any text is an answer of its own.
  auto first = std::make_shared<Ticket::News>(ticket->wait_for(kUntilStream));
  if (first->end && !*first->end) {
    ticket->leave();
    return refuse(response, first->end->error());
  }
  auto stream = std::make_shared<batch::AnswerStream>(std::move(head), ticket->request(), reader_.vocab());
  response.set_header("Cache-Control", "no-cache");
  response.set_chunked_content_provider(
      "text/event-stream",
      [ticket, stream, first, open = std::move(open)](std::size_t, httplib::DataSink& sink) {
        Ticket::News news = first->empty() ? ticket->wait_for(kBetweenSigns) : std::exchange(*first, {});
        bool ends = news.end.has_value();
        std::string events;
        try {
          for (auto& [choice, piece] : news.pieces) events += stream->add(choice, std::move(piece));
          if (ends)
            events += *news.end ? stream->end(**news.end) : batch::AnswerStream::fail(news.end->error());
        } catch (const std::exception& error) {  // a text that the chat template's own parser refuses
          events += batch::AnswerStream::fail({ErrorCode::kInternal, error.what()});
          ends = true;
        }
        if (news.empty()) events = ": the answer is on its way\n\n";
        if (!events.empty() && !sink.write(events.data(), events.size())) return false;
        if (ends) sink.done();
        return true;
      },
      [ticket](bool) { ticket->leave(); });
}

}  // namespace strata::serve

#include "cli/serve.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>

#include "base/counted.h"
#include "base/standard_error.h"
#include "cli/answer_settings.h"
#include "cli/exit_code.h"
#include "cli/model_choice.h"
#include "cli/run_options.h"
#include "cli/start.h"
#include "serve/api_server.h"
#include "serve/serve_loop.h"
#include "session/context_choice.h"
#include "session/live_control.h"

namespace brimful::cli {
namespace {

std::atomic<int> stops{0};

void on_stop(int) {
  // The second signal ends the program at once, because the orderly end takes too long.
  if (++stops > 1) std::_Exit(130);
}

// Tokens that one request may have in any case.
constexpr std::uint64_t kLeastContext = 1024;
// The least memory for bodies of requests, which normally is an eighth of the budget. With it, one body of
// 4 MiB still fits.
constexpr Bytes kLeastForBodies{16ULL << 20};
constexpr std::uint64_t kShareForBodies = 8;  // an eighth of the budget
// An estimate for SQLite's caches and the ids of a batch's requests.
constexpr Bytes kFileStore{8ULL << 20};

struct ServeOptions {
  RunOptions run;
  serve::ServerOptions server;
  int port = 8080;
  std::string key_file;
  std::string state;
  std::string served_name;
  std::uint32_t sequences = 32;
  std::size_t queue = 128;
  std::int64_t timeout = 3600;
  bool batch_invariant = false;
};

class Serve {
 public:
  explicit Serve(ServeOptions options) : options_(std::move(options)) {}

  Status execute() {
    std::signal(SIGPIPE, SIG_IGN);  // Clients may disconnect while the server writes.
    struct sigaction action {};
    action.sa_handler = on_stop;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);

    BRIMFUL_TRY_VOID(read_keys());
    BRIMFUL_TRY_VOID(read_origins());
    allow_many_files();
    BRIMFUL_TRY(serve::Listener listener, serve::Listener::bind(options_.server.access.host, options_.port));
    const std::string url = listener.url();
    BRIMFUL_TRY(const auto store, open_store());
    BRIMFUL_TRY(engine::OpenOptions open, open_options(options_.run));
    if (!asks_for_drafts(options_.run)) open.heads = engine::Heads::kNone;
    BRIMFUL_TRY(batch::Settings settings, answer_settings(options_.run, open, ""));
    settings.push_back({"--batch-invariant", options_.batch_invariant ? "on" : "", ""});
    BRIMFUL_TRY(engine_, engine::Engine::open(std::move(open)));
    BRIMFUL_TRY(const std::string chat_template, cli::chat_template(options_.run));
    BRIMFUL_TRY(const auto reader, openai::ApiReader::create(*engine_, chat_template));
    BRIMFUL_TRY(const std::uint32_t at_once, prepare());
    // Many requests share the context. A single one gets no more tokens than the model was trained on.
    if (const std::uint32_t trained = engine_->profile().train_context; trained > 0 && !options_.run.context)
      options_.server.longest_text = trained;
    serve::RequestQueue request_queue(options_.sequences + options_.queue,
                                      std::chrono::seconds(options_.timeout));
    serve::MetricsSnapshot metrics;
    const std::string model = options_.served_name.empty() ? engine_->profile().name : options_.served_name;
    serve::ApiServer server(std::move(listener), options_.server, *engine_, reader, model, request_queue,
                            metrics, store.get());
    BRIMFUL_TRY_VOID(start());
    schedule::Scheduler scheduler(
        *engine_, {.most_running = at_once,
                   .longest_text = options_.server.longest_text,
                   .company = options_.batch_invariant ? schedule::Scheduler::Company::kOneByOne
                                                       : schedule::Scheduler::Company::kTogether});
    std::optional<serve::BatchQueue> batches;
    if (store) batches.emplace(*store, reader, scheduler, model, with_cache_type(std::move(settings)));
    server.loaded();
    tell("listening on {}\n", url);
    serve::ServeLoop service(*engine_, scheduler, request_queue, metrics, batches ? &*batches : nullptr);
    const Status status =
        service.run({.stopping =
                         [&] {
                           if (stops == 0) return false;
                           tell("stopping after {}; a second signal stops at once\n",
                                counted(request_queue.open(), "open request"));
                           server.refuse_more();
                           return true;
                         },
                     .between_passes =
                         [&](bool busy) {
                           const schedule::Statistics& did = scheduler.statistics();
                           return live_->between_passes({did.prompt_tokens, did.tokens, busy},
                                                        [&] { return scheduler.evict(); });
                         }});
    live_.reset();  // No client of the server waits for it any more.
    return status;
  }

 private:
  /// Returns the settings with the type of the KV cache that was chosen.
  [[nodiscard]] batch::Settings with_cache_type(batch::Settings settings) const {
    for (batch::Setting& setting : settings) {
      if (setting.name == "-ctk") setting.value = ggml_type_name(engine_->prepared().type_k);
      if (setting.name == "-ctv") setting.value = ggml_type_name(engine_->prepared().type_v);
    }
    return settings;
  }

  /// Raises the limit on open files as far as possible. Each connection is an open file, and the usual limit
  /// is little more than a thousand.
  static void allow_many_files() {
    struct rlimit limit {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }

  /// Reads the API keys. They can also come from the environment or a file, because every user of the
  /// machine can read a command line.
  Status read_keys() {
    std::vector<std::string>& keys = options_.server.access.api_keys;
    for (const std::string& key : keys) BRIMFUL_TRY_VOID(serve::check_api_key(key, "--api-key"));
    if (const char* const key = std::getenv("BRIMFUL_API_KEY"); key != nullptr) {
      BRIMFUL_TRY_VOID(serve::check_api_key(key, "BRIMFUL_API_KEY"));
      keys.emplace_back(key);
    }
    if (options_.key_file.empty()) return {};
    std::ifstream in(options_.key_file);
    std::size_t count = 0;
    for (std::string line; std::getline(in, line);) {
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
        line.pop_back();
      if (line.empty()) continue;
      BRIMFUL_TRY_VOID(serve::check_api_key(line, "--api-key-file " + options_.key_file));
      keys.push_back(line);
      ++count;
    }
    if (in.bad() || count == 0)
      return fail(ErrorCode::kNotFound,
                  fmt::format("--api-key-file {}: no key can be read from it: write one key per line",
                              options_.key_file));
    return {};
  }

  Status read_origins() {
    for (std::string& origin : options_.server.access.cors_origins) {
      BRIMFUL_TRY(origin, serve::read_origin(origin));
    }
    return {};
  }

  /// Opens the file store. The result is null when the user named no folder and the default one cannot be
  /// used.
  Result<std::unique_ptr<serve::FileStore>> open_store() const {
    if (!options_.state.empty()) return serve::FileStore::open(options_.state);
    auto out = serve::FileStore::open(serve::FileStore::usual_folder(options_.port));
    if (out) return out;
    tell("note: /v1/files and /v1/batches are not available: {}\n", out.error().message);
    return nullptr;
  }

  Result<std::uint32_t> prepare() {
    BRIMFUL_TRY(engine::ContextOptions context, context_options(options_.run));
    if (!asks_for_drafts(options_.run)) context.drafts = {};
    const Bytes connections = serve::ApiServer::kConnection * options_.server.http.most_connections;
    const Bytes most = options_.server.largest_bodies;
    const auto bodies = [most](Bytes budget) {
      return std::clamp(Bytes{budget.value / kShareForBodies}, kLeastForBodies, most);
    };
    const bool has_budget = options_.run.ram.has_value();
    if (has_budget)  // open_options() has checked the value.
      options_.server.largest_bodies = bodies(parse_bytes(*options_.run.ram).value_or(Bytes{}));
    session::ExpectedRequests expected =
        session::usual_requests(engine_->profile(), options_.sequences, kLeastContext);
    expected.chooses_cache = chooses_cache_type(options_.run);
    expected.client_reserve = [=](Bytes budget) {
      return connections + (has_budget ? bodies(budget) : most) + kFileStore;
    };
    return session::prepare_shared(*engine_, context, expected,
                                   known_machine(options_.run, engine_->profile()), tell_note);
  }

  Status start() {
    live_.emplace(*engine_, options_.run.model, tell_note_below);
    BRIMFUL_TRY_VOID(start_and_show(*engine_, [] { return stops > 0; }));
    live_->started();
    const std::string& host = options_.server.access.host;
    if (options_.server.access.api_keys.empty() && host != "127.0.0.1" && host != "localhost" &&
        host != "::1")
      tell(
          "note: everyone who can reach {} can use this server: --api-key restricts it to those with the "
          "key\n",
          host);
    return {};
  }

  ServeOptions options_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<session::Live> live_;
};

}  // namespace

void add_serve_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("serve", "serve a model over HTTP, with OpenAI's API");
  auto options = std::make_shared<ServeOptions>();
  command->add_option("model,-m,--model", options->run.model,
                      "GGUF file (of a split model: the first part), or the name of a model in the cache");
  add_hub_flag(*command, options->run);
  command->add_option("--host", options->server.access.host, "address to listen on")->capture_default_str();
  command->add_option("--port", options->port, "port to listen on (0: any free port)")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  command->add_option("--api-key", options->server.access.api_keys,
                      "key that clients must send; may be repeated; also read from BRIMFUL_API_KEY");
  command->add_option("--api-key-file", options->key_file, "file of API keys, one per line");
  command->add_option(
      "--cors-origin", options->server.access.cors_origins,
      "origin of web pages that may use the server, such as http://localhost:3000 (*: all); may be repeated");
  command->add_option("--state", options->state,
                      "folder for files and batches (default: one per port, in ~/.local/state/brimful)");
  command->add_option("-a,--alias,--served-model-name", options->served_name, "name of the model in answers");
  command
      ->add_option("--max-num-seqs,--parallel", options->sequences, "most requests computed at the same time")
      ->capture_default_str()
      ->check(CLI::Range(1, 248));
  command->add_option("--max-queue", options->queue, "most waiting requests; further ones get status 429")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
  command->add_option("--timeout", options->timeout, "time limit for a request, in seconds")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  command->add_flag(
      "--batch-invariant", options->batch_invariant,
      "give a request the same tokens whatever other requests run: computes one request after the other");
  add_chat_flags(*command, options->run);
  add_shape_flags(*command, options->run);
  add_device_flags(*command, options->run);
  command->callback([options, &exit_code] {
    if (options->run.model.empty() && options->run.hub.empty())
      throw CLI::RequiredError("-m FILE or -hf NAME");
    const Status chosen = choose_model(options->run);
    exit_code = chosen ? report(Serve(*options).execute()) : report(chosen);
  });
}

}  // namespace brimful::cli

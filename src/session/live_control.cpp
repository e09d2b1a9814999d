#include "session/live_control.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "session/budget_change.h"
#include "session/status_json.h"

namespace brimful::session {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetweenStatuses{100};
constexpr std::chrono::milliseconds kWhileWaiting{500};  // the interval keeps rates up to date

std::optional<Bytes> bytes_of(const nlohmann::json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_number_unsigned()) return std::nullopt;
  return Bytes{object[key].get<std::uint64_t>()};
}

}  // namespace

Result<engine::BudgetChange> budget_change_of(const nlohmann::json& request,
                                              const std::vector<std::string>& devices,
                                              const plan::OptionNames& names) {
  Budgets budgets{.ram = bytes_of(request, "ram")};
  if (request.contains("ram") && !budgets.ram)
    return fail(ErrorCode::kInvalidArgument, "'ram' is no number of bytes");
  const nlohmann::json parts = request.contains("vram") ? request["vram"] : nlohmann::json::array();
  if (!parts.is_array()) return fail(ErrorCode::kInvalidArgument, "'vram' is not a list");
  for (const nlohmann::json& part : parts) {
    const auto bytes = bytes_of(part, "bytes");
    if (!bytes) return fail(ErrorCode::kInvalidArgument, "a part of 'vram' has no 'bytes'");
    const bool has_name = part.contains("name");
    if (has_name && !part["name"].is_string())
      return fail(ErrorCode::kInvalidArgument, "'name' is not a text");
    budgets.vram.push_back({has_name ? part["name"].get<std::string>() : "", bytes});
  }
  if (!budgets.ram && budgets.vram.empty())
    return fail(ErrorCode::kInvalidArgument, "the request names no budget");
  return budget_change(budgets, devices, names);
}

Live::Live(engine::Engine& engine, std::string model, Notes notes)
    : engine_(engine), model_(std::move(model)), notes_(std::move(notes)) {
  auto server = control::Server::start();
  if (server) {
    server_ = std::move(*server);
  } else {
    notes_(fmt::format("brimful top and brimful ctl cannot reach this run: {}", server.error().message));
  }
  publish("loading");
}

void Live::publish(std::string_view state) {
  if (!server_) return;
  const auto now = Clock::now();
  const bool as_before = state == state_;
  if (as_before && now - published_ < kBetweenStatuses) return;
  published_ = now;
  state_ = state;
  nlohmann::ordered_json status{{"version", 1},
                                {"pid", ::getpid()},
                                {"model", model_},
                                {"state", state},
                                {"seconds", std::chrono::duration<double>(now - begin_).count()},
                                {"tokens",
                                 {{"prompt", progress_.prompt},
                                  {"prompt_computed", progress_.prompt_cached + progress_.prompt_computed},
                                  {"computed", computed_before_ + progress_.prompt_computed},
                                  {"written", written_before_ + progress_.written}}}};
  if (in_memory_) {
    status["passes"] = session::passes_json(engine_.pass_statistics());
    status["tiers"] = session::tiers_json(engine_);
  }
  server_->publish(status);
}

std::optional<int> Live::wake_descriptor() const {
  if (!server_) return std::nullopt;
  return server_->wake_descriptor();
}

void Live::started() {
  in_memory_ = true;
  publish("waiting");
}

Status Live::before_pass(const TurnProgress& progress) {
  progress_ = progress;
  publish(progress.prompt_cached + progress.prompt_computed < progress.prompt ? "prompt" : "writing");
  return carry_out_requests();
}

Status Live::between_passes(const Served& served, const std::function<void()>& empty_context) {
  computed_before_ = served.computed;
  written_before_ = served.written;
  publish(served.busy ? "writing" : "waiting");
  return carry_out_requests(empty_context);
}

void Live::finished(const Turn& turn) {
  computed_before_ += turn.prompt_computed;
  written_before_ += turn.token_ids.size();
  progress_ = {};
  publish("waiting");
}

Result<bool> Live::wait_for_input(const std::function<bool()>& give_up) {
  while (!give_up()) {
    std::array<pollfd, 2> waiting{
        {{STDIN_FILENO, POLLIN, 0}, {server_ ? server_->wake_descriptor() : -1, POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(kWhileWaiting.count())) < 0) continue;
    publish("waiting");
    if (waiting[1].revents != 0) BRIMFUL_TRY_VOID(carry_out_requests());
    if (waiting[0].revents != 0) return !give_up();  // Ctrl-C may have come before the input
  }
  return false;
}

Status Live::carry_out_requests(const std::function<void()>& empty_context) {
  while (server_) {
    std::optional<control::Request> request = server_->take();
    if (!request) break;
    BRIMFUL_TRY_VOID(carry_out(*request, empty_context));
  }
  return {};
}

Status Live::carry_out(control::Request& request, const std::function<void()>& empty_context) {
  const std::string state = state_;
  const auto refuse = [&](const Error& error) {
    request.answer({{"error", error.message}, {"code", to_string(error.code)}});
  };
  if (request.content()["ask"] != "budgets") {
    refuse({ErrorCode::kInvalidArgument, "this version does not know this request"});
    return {};
  }
  const auto change = budget_change_of(request.content(), names_in_use(engine_), engine_.names());
  if (!change) {
    refuse(change.error());
    return {};
  }
  const auto begin = Clock::now();
  publish("loading");
  if (empty_context) empty_context();
  const Status changed = engine_.change_budgets(*change);
  if (!engine_.can_go_on()) {
    refuse({changed.error().code,
            changed.error().message + "; the old budgets could not be restored: the run has ended"});
    return changed;
  }
  if (!changed) refuse(changed.error());
  publish(state);
  if (!changed) return {};
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  request.answer({{"seconds", seconds}, {"tiers", session::tiers_json(engine_)}, {"notes", engine_.notes()}});
  std::string budgets = fmt::format("host {}", format_bytes(engine_.memory_map().budget));
  for (const engine::DeviceUse& device : engine_.devices())
    budgets += fmt::format(", {} {}", device.share.name, format_bytes(device.share.budget));
  notes_(fmt::format("budgets are now: {} ({:.1f} s)", budgets, seconds));
  for (const std::string& note : engine_.notes()) notes_(note);
  return {};
}

}  // namespace brimful::session

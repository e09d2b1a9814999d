#include "cli/live.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "cli/status_json.h"

namespace strata::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBetweenStatuses{100};

std::optional<Bytes> bytes_of(const nlohmann::json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_number_unsigned()) return std::nullopt;
  return Bytes{object[key].get<std::uint64_t>()};
}

/// `{"ram": BYTES, "vram": [{"name": "CUDA0", "bytes": BYTES}, ..]}`; without a name: the next device.
Result<engine::BudgetChange> change_of(const nlohmann::json& request, const engine::Engine& engine) {
  engine::BudgetChange change{bytes_of(request, "ram"), {}};
  if (change.ram == Bytes{})
    return fail(ErrorCode::kInvalidArgument, "--ram: a budget of 0 bytes holds nothing");
  const nlohmann::json parts = request.contains("vram") ? request["vram"] : nlohmann::json::array();
  if (!parts.is_array()) return fail(ErrorCode::kInvalidArgument, "'vram' is no list");
  const std::vector<engine::DeviceUse> devices = engine.devices();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto budget = bytes_of(parts[i], "bytes");
    if (!budget) return fail(ErrorCode::kInvalidArgument, "a part of 'vram' has no 'bytes'");
    std::string name;
    if (parts[i].contains("name")) {
      if (!parts[i]["name"].is_string()) return fail(ErrorCode::kInvalidArgument, "'name' is no text");
      name = parts[i]["name"];
    }
    if (name.empty() && i >= devices.size()) {
      return fail(ErrorCode::kInvalidArgument,
                  devices.empty() ? "no GPU is used: start with --vram"
                                  : fmt::format("--vram names {} budgets and {} GPUs are used", parts.size(),
                                                devices.size()));
    }
    change.vram.emplace_back(name.empty() ? devices[i].share.name : std::move(name), *budget);
  }
  if (!change.ram && change.vram.empty())
    return fail(ErrorCode::kInvalidArgument, "a request for budgets that names none");
  return change;
}

}  // namespace

Live::Live(engine::Engine& engine, std::string model) : engine_(engine), model_(std::move(model)) {
  auto server = control::Server::start();
  if (server) {
    server_ = std::move(*server);
  } else {
    fmt::print(stderr, "note: strata top and strata ctl cannot reach this run: {}\n", server.error().message);
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
                                  {"prompt_computed", progress_.prompt_computed},
                                  {"computed", computed_before_ + progress_.prompt_computed},
                                  {"written", written_before_ + progress_.written}}}};
  if (state != "loading") {
    status["passes"] = passes_json(engine_.pass_statistics());
    status["tiers"] = tiers_json(engine_);
  }
  server_->publish(status);
}

void Live::started() { publish("waiting"); }

Status Live::before_pass(const engine::GenerationProgress& progress) {
  progress_ = progress;
  publish(progress.prompt_computed < progress.prompt ? "prompt" : "writing");
  return carry_out_requests();
}

void Live::finished(const engine::Generation& turn) {
  computed_before_ += turn.prompt_ids.size();
  written_before_ += turn.token_ids.size();
  progress_ = {};
  publish("waiting");
}

Result<bool> Live::wait_for_input() {
  for (;;) {
    std::array<pollfd, 2> waiting{
        {{STDIN_FILENO, POLLIN, 0}, {server_ ? server_->wake_descriptor() : -1, POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0) return false;
    if (waiting[1].revents != 0) STRATA_TRY_VOID(carry_out_requests());
    if (waiting[0].revents != 0) return true;
  }
}

Status Live::carry_out_requests() {
  while (server_) {
    std::optional<control::Request> request = server_->take();
    if (!request) break;
    STRATA_TRY_VOID(carry_out(*request));
  }
  return {};
}

Status Live::carry_out(control::Request& request) {
  const std::string state = state_;
  const auto refuse = [&](const Error& error) {
    request.answer({{"error", error.message}, {"code", to_string(error.code)}});
  };
  if (request.content()["ask"] != "budgets") {
    refuse({ErrorCode::kInvalidArgument, "this version does not know what is asked for"});
    return {};
  }
  const auto change = change_of(request.content(), engine_);
  if (!change) {
    refuse(change.error());
    return {};
  }
  const auto begin = Clock::now();
  publish("loading");
  const Status changed = engine_.change_budgets(*change);
  if (!changed) refuse(changed.error());
  if (!engine_.can_go_on()) return changed;
  publish(state);
  if (!changed) return {};
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  request.answer({{"seconds", seconds}, {"tiers", tiers_json(engine_)}, {"notes", engine_.notes()}});
  std::string budgets = fmt::format("host {}", format_bytes(engine_.memory_map().budget));
  for (const auto& [device, sent] : engine_.devices())
    budgets += fmt::format(", {} {}", device.name, format_bytes(device.budget));
  fmt::print(stderr, "\nnote: budgets are now: {} ({:.1f} s)\n", budgets, seconds);
  for (const std::string& note : engine_.notes()) fmt::print(stderr, "note: {}\n", note);
  return {};
}

}  // namespace strata::cli

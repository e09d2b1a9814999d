#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "control/server.h"
#include "session/notes.h"
#include "session/turn.h"

namespace brimful::session {

/// Reads the budgets that a request on the control socket asks for (docs/control.md):
/// `{"ram": BYTES, "vram": [{"name": "CUDA0", "bytes": BYTES}, ..]}`, one or both of them. A part of `vram`
/// without a name is for the first of `devices`, the GPUs in use, that has no budget yet. `names` is what
/// messages call the budgets. Errors: kInvalidArgument.
[[nodiscard]] Result<engine::BudgetChange> budget_change_of(const nlohmann::json& request,
                                                            const std::vector<std::string>& devices,
                                                            const plan::OptionNames& names);

/// Lets other processes watch and change this run: it answers `brimful top` and `brimful ctl`
/// (docs/control.md). Threading: as Engine.
class Live {
 public:
  /// Opens the socket. If that is not possible, a note says why, and the run goes on without it. `engine`
  /// outlives this. The members of this object call `notes`, on their thread.
  Live(engine::Engine& engine, std::string model, Notes notes);

  /// A descriptor for poll(), which can be read when another process has asked for something. Unset: there is
  /// no socket.
  [[nodiscard]] std::optional<int> wake_descriptor() const;

  /// Must be called when the model is loaded.
  void started();
  /// For Conversation::BeforePass. Publishes the progress, and changes budgets if another process has
  /// asked for it. Errors: those after which the engine cannot be used.
  [[nodiscard]] Status before_pass(const TurnProgress& progress);
  /// The progress of many requests at once, since the start.
  struct Served {
    std::uint64_t computed = 0;  ///< Number of prompt tokens that were computed.
    std::uint64_t written = 0;   ///< Number of tokens that were generated.
    bool busy = false;           ///< Whether a request is being computed.
  };
  /// The same as before_pass() for many requests, between two passes. It calls `empty_context` before it
  /// changes budgets, each time. Errors: as before_pass().
  [[nodiscard]] Status between_passes(const Served& served, const std::function<void()>& empty_context);
  /// Must be called when a turn of a conversation has ended.
  void finished(const Turn& turn);
  /// Waits until standard input has something to read, and meanwhile answers other processes. Returns true
  /// when there is input, and false when `give_up` returned true. `give_up` is asked after a signal, and
  /// twice a second. Errors: as before_pass().
  [[nodiscard]] Result<bool> wait_for_input(const std::function<bool()>& give_up);

 private:
  void publish(std::string_view state);
  [[nodiscard]] Status carry_out_requests(const std::function<void()>& empty_context = {});
  [[nodiscard]] Status carry_out(control::Request& request, const std::function<void()>& empty_context);

  engine::Engine& engine_;
  const std::string model_;
  const Notes notes_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point published_;
  std::unique_ptr<control::Server> server_;
  std::string state_;
  bool in_memory_ = false;
  TurnProgress progress_;            // of the current turn
  std::size_t computed_before_ = 0;  // prompt tokens that earlier turns have computed
  std::size_t written_before_ = 0;
};

}  // namespace brimful::session

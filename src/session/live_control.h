#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "control/server.h"
#include "engine/generator.h"
#include "session/notes.h"

namespace brimful::session {

/// A run as other processes see it, and may change it: answers `brimful top` and `brimful ctl`.
/// docs/control.md. Threading: as Engine.
class Live {
 public:
  /// Where there can be no socket, the run goes on without, and a note says why. `engine` outlives this.
  /// `notes` is called by members of this object, on their thread.
  Live(engine::Engine& engine, std::string model, Notes notes);

  /// The model is in memory.
  void started();
  /// Of GenerationOptions. Errors: those after which the engine cannot be used.
  [[nodiscard]] Status before_pass(const engine::GenerationProgress& progress);
  /// Of many requests at once, between two passes: tokens of prompts and of answers since the start. Budgets
  /// change after `empty_context`. Errors: as before_pass.
  struct Served {
    std::uint64_t computed = 0;
    std::uint64_t written = 0;
    bool busy = false;
  };
  [[nodiscard]] Status between_passes(const Served& served, const std::function<void()>& empty_context);
  /// A turn has ended.
  void finished(const engine::Generation& turn);
  /// Waits until standard input has something to read, and does meanwhile what is asked for. Whether it has:
  /// not where `give_up` says yes, which is asked after a signal and twice a second. Errors: as before_pass.
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
  engine::GenerationProgress progress_;  // of the turn
  std::size_t computed_before_ = 0;      // tokens of prompts, in earlier turns
  std::size_t written_before_ = 0;
};

}  // namespace brimful::session

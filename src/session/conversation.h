#pragma once

#include <functional>
#include <string_view>

#include "engine/engine.h"
#include "schedule/scheduler.h"
#include "session/turn.h"

namespace brimful::session {

/// Sets what a context needs for a Conversation: one sequence, which may use all of it.
void shape_for_conversation(engine::ContextOptions& context);

/// Answers the turns of one conversation, one after the other. Each turn is the only request of a scheduler.
/// Threading: as Engine.
class Conversation {
 public:
  /// Called before each pass. It may change the budgets of the engine. An error ends the turn.
  using BeforePass = std::function<Status(const TurnProgress&)>;
  /// Called with each piece of text. Returning false ends the turn with StopReason::kCancelled.
  using OnText = std::function<bool(std::string_view piece)>;

  /// `engine` outlives it, and has started with a context of shape_for_conversation().
  explicit Conversation(engine::Engine& engine);

  /// Generates the text that follows the request's prompt. The tokens at the beginning of the prompt that the
  /// KV cache holds already are not computed again. The request's priority does not matter. Both functions
  /// may be unset. Errors: those of Scheduler::submit(), Scheduler::step() and `before_pass`. A turn that is
  /// cancelled, also by Engine::abort(), is no error: it is the text so far.
  [[nodiscard]] Result<Turn> answer(schedule::Request request, const BeforePass& before_pass,
                                    const OnText& on_text);

 private:
  engine::Engine& engine_;
  schedule::Scheduler scheduler_;
};

}  // namespace brimful::session

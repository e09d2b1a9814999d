#include "openai/submit.h"

#include <memory>
#include <optional>

namespace brimful::openai {
namespace {

/// The state of a request's parts, until all have ended.
struct Parts {
  AnswerCallbacks listener;
  std::vector<schedule::Answer> answers;
  std::vector<std::string> texts;
  std::optional<Error> error;
  std::size_t left = 0;
  /// Set when a part could not be submitted. The listener is not called any more.
  bool withdrawn = false;

  void add(std::size_t part, schedule::Piece piece) {
    texts[part] += piece.text;
    if (listener.on_piece) listener.on_piece(part, std::move(piece));
  }
  void ended(std::size_t part, Result<schedule::Answer> answer) {
    if (answer) {
      answers[part] = std::move(*answer);
      answers[part].text = std::move(texts[part]);
    } else {
      error = answer.error();
    }
    if (--left > 0 || withdrawn) return;
    if (error) return listener.on_end(std::unexpected(*error));
    listener.on_end(std::move(answers));
  }
};

}  // namespace

Result<std::vector<schedule::Scheduler::Id>> submit(schedule::Scheduler& scheduler, const ApiRequest& request,
                                                    schedule::Priority priority, AnswerCallbacks listener) {
  const auto all = std::make_shared<Parts>();
  all->listener = std::move(listener);
  all->left = request.part_count();
  all->answers.resize(all->left);
  all->texts.resize(all->left);
  std::vector<schedule::Scheduler::Id> ids;
  for (schedule::Request& part : request.parts()) {
    part.priority = priority;
    const std::size_t i = ids.size();
    const auto id = scheduler.submit(
        std::move(part),
        {.on_piece =
             [all, i](schedule::Piece piece) {
               all->add(i, std::move(piece));
               return true;
             },
         .on_end = [all, i](Result<schedule::Answer> answer) { all->ended(i, std::move(answer)); }});
    if (!id) {
      all->withdrawn = true;
      for (const schedule::Scheduler::Id one : ids) scheduler.cancel(one);
      return std::unexpected(id.error());
    }
    ids.push_back(*id);
  }
  return ids;
}

}  // namespace brimful::openai

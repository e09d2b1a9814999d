#pragma once

#include <brimful/budgets.h>
#include <brimful/export.h>
#include <brimful/model.h>
#include <brimful/result.h>
#include <brimful/sampling.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace brimful {

/// A call of a tool that the model asks for.
struct ToolCall {
  /// The model's own id, or nine random letters and digits where the model gives none.
  std::string id{};
  std::string name{};
  /// The arguments as JSON, as the model wrote them. They are not checked against the tool's parameters.
  std::string arguments{};
};

/// One message of a chat.
struct Message {
  /// `system`, `user`, `assistant` or `tool`, or what else the model's chat template knows.
  std::string role{};
  std::string content{};
  /// What the assistant thought before this message. Empty: nothing. The chat template decides whether the model sees
  /// it again.
  std::string reasoning{};
  /// The calls that the assistant asked for in this message.
  std::vector<ToolCall> tool_calls{};
  /// In a message with the result of a tool: the id of its call. Empty in all others.
  std::string tool_call_id{};
  /// The name of the tool, or of the speaker. Empty: none.
  std::string name{};
};

/// A tool that the model may ask its caller to call.
struct Tool {
  std::string name{};
  std::string description{};  ///< What it does, for the model.
  /// A JSON schema of the arguments, as JSON. Empty: any object.
  std::string parameters{};
  /// True: parameters of which llama.cpp cannot follow some part are refused.
  bool strict = false;
};

/// Whether an answer may, must or must not call a tool.
enum class ToolChoice { kAuto, kRequired, kNone };

/// What is to be answered: exactly one of `text`, `tokens` and `messages`. Names of special tokens in texts and
/// messages, such as `</s>`, become these tokens, and the token for the beginning of a text is put in front of them
/// where the model wants one.
struct Prompt {
  /// A text to complete.
  std::string text{};
  /// The same as token ids, which are used as they are. See Session::tokenize().
  std::vector<std::int32_t> tokens{};
  /// A chat, which the model's chat template turns into a text. The fields below belong to it.
  std::vector<Message> messages{};
  /// Tools that the answer may call: see Completion::tool_calls.
  std::vector<Tool> tools{};
  ToolChoice tool_choice = ToolChoice::kAuto;
  /// Whether an answer may have more than one call. Unset: if the chat template supports it.
  std::optional<bool> parallel_tool_calls{};
  /// Whether the model thinks before it answers, where its chat template has that switch.
  bool thinking = true;
  /// The most tokens that the model may think; then its thoughts are ended. Unset: no limit.
  std::optional<std::uint32_t> thinking_tokens{};
  /// Whether thoughts are kept apart, as Completion::reasoning. False: they stay in the text, with their marks.
  bool thoughts_apart = true;
  /// True: the last message is the assistant's, and the answer continues it.
  bool continues_last_message = false;
  /// More variables for the chat template, by name; the values are JSON.
  std::map<std::string, std::string> template_arguments{};
};

/// A token and the natural logarithm of its probability: the model's own, before temperature and the other samplers.
struct TokenLogProbability {
  std::int32_t token = 0;
  double log_probability = 0;
};

/// The log probabilities at one place of an answer.
struct LogProbabilities {
  TokenLogProbability written{};
  /// The likeliest tokens, the likeliest one first: as many as SamplingOptions::top_log_probabilities says.
  std::vector<TokenLogProbability> top{};
};

/// Which requests are computed first. Interactive ones may take the place of background ones, which go on later.
enum class Priority { kInteractive, kBackground };

/// How a request is computed beside others.
struct RequestOptions {
  Priority priority = Priority::kInteractive;
  /// Whether the same tokens are expected each time. While such a request runs alone, it gets those that it gets in a new
  /// session. Unset: at temperature 0, and where a seed is set.
  std::optional<bool> repeatable{};
};

/// What an answer took. A pass that computes several requests counts for each of them, as a whole.
struct Timings {
  /// From the submission until the first token was chosen. 0 where none was.
  double first_token_seconds = 0;
  double seconds = 0;         ///< From the submission to the end.
  double prompt_seconds = 0;  ///< Passes that computed tokens of the prompt.
  double answer_seconds = 0;  ///< Passes that computed an answer's token, to choose the next one.
  std::uint64_t answer_passes = 0;
  std::uint64_t draft_tokens = 0;           ///< Tokens that were computed as drafts.
  std::uint64_t draft_tokens_accepted = 0;  ///< Those of them that became part of the answer.
  std::uint32_t preempted = 0;              ///< How often the request made room for others.
};

/// Why an answer ended.
enum class StopReason {
  kEndOfText,    ///< The model ended it.
  kLimit,        ///< SamplingOptions::max_tokens were written.
  kContextFull,  ///< The context holds no more tokens, or one request may have no more; see ContextOptions::tokens.
  kStopString,   ///< One of SamplingOptions::stop came up.
  kCancelled,    ///< The caller ended it.
};

/// An answer.
struct Completion {
  /// UTF-8, as far as the model writes it; of an answer to messages always, as a wrong byte becomes U+FFFD. Without the
  /// stop string, and all of it, also where `on_text` ended the answer.
  std::string text{};
  std::string reasoning{};  ///< What the model thought before, where its chat template keeps that apart.
  /// The calls of tools that the model asks for. The caller calls them, and answers with messages of the role `tool`.
  std::vector<ToolCall> tool_calls{};
  std::vector<std::int32_t> tokens{};  ///< Ids of the tokens that were written, with the one that ends a text.
  /// One for each of `tokens`. Empty unless SamplingOptions::top_log_probabilities is set.
  std::vector<LogProbabilities> log_probabilities{};
  std::size_t prompt_tokens = 0;     ///< Tokens of the prompt.
  std::size_t prompt_tokens_cached = 0;  ///< Those of them that did not have to be computed again.
  StopReason reason = StopReason::kEndOfText;
  /// What of the request could not be done as asked, such as parts of a schema that are not enforced; one sentence
  /// each.
  std::vector<std::string> notes{};
  Timings timings{};
};

/// What is new in an answer while it is written. One of `text`, `reasoning` and `call` has something.
struct Delta {
  std::string text{};
  std::string reasoning{};
  struct Call {
    std::size_t index = 0;  ///< Which of Completion::tool_calls it belongs to.
    /// What the call has gained: `id` and `name` in its first delta only, and pieces of `arguments`.
    ToolCall added{};
  };
  std::optional<Call> call{};
  /// Those of the tokens that were written since the last delta; see Completion::log_probabilities, which alone may have
  /// those of the last tokens.
  std::vector<LogProbabilities> log_probabilities{};
};

/// Takes a piece of an answer's text as it is written, without its reasoning and its calls of tools; may cut a UTF-8 character. Returning
/// false ends the answer, and it is not called again.
using OnText = std::function<bool(std::string_view piece)>;

/// Takes how many of how many bytes are loaded. Returning false ends the loading with kCancelled.
using OnProgress = std::function<bool(Bytes done, Bytes total)>;

/// Names a request of Session::submit(). Ids are never used twice in a session.
using RequestId = std::uint64_t;

/// How submit() tells what becomes of a request. They are called inside a function of the session that computes or
/// cancels, on its thread. Of the session, they may call read(), submit(), cancel() and cancel_all() only. What one of them
/// throws leaves that function when the pass is finished, and what on_text or on_delta throws cancels its request. Each
/// may be unset.
struct Callbacks {
  OnText on_text{};
  /// Takes all that is new in the answer: its text, which on_text gets as well, its reasoning and its calls of tools.
  /// Returning false ends the answer, and neither is called again.
  std::function<bool(const Delta& delta)> on_delta{};
  /// Called once, at the end; also for a request that is still on its way when the session ends: what it throws is lost
  /// then. An answer that was cancelled is a Completion with what there is. Errors: those that the answer itself is to
  /// blame for.
  std::function<void(Result<Completion>)> on_end{};
};

/// What a session has done since it started.
struct Statistics {
  std::uint64_t passes = 0;                ///< Each computes tokens of all requests that run.
  std::uint64_t prompt_tokens = 0;         ///< Tokens of prompts that were computed.
  std::uint64_t prompt_tokens_cached = 0;  ///< Tokens of prompts that were not, as the KV cache held them.
  std::uint64_t tokens = 0;                ///< Tokens that were written.
  std::uint64_t draft_tokens = 0;          ///< Tokens that were computed as drafts.
  std::uint64_t draft_tokens_accepted = 0; ///< Those of them that became part of an answer.
  std::uint64_t preempted = 0;             ///< How often a request made room for others, and went on later.
  std::uint32_t most_running = 0;          ///< The most requests that were computed at once.
  double seconds = 0;                      ///< Time of all passes.
  double prompt_seconds = 0;               ///< Timings::prompt_seconds of all requests together.
  double answer_seconds = 0;               ///< Timings::answer_seconds of all requests together.
  double draft_seconds = 0;                ///< Time in which drafts were made. It is no part of `seconds`.
  /// Passes that computed one token of each request and nothing else, and the tokens that they gave.
  std::uint64_t answer_passes = 0;
  std::uint64_t answer_pass_tokens = 0;
  double answer_pass_seconds = 0;
  double stalled_seconds = 0;              ///< The part of it in which the computing waited for the disk.
  Bytes read{};                            ///< Bytes of weights that passes read from the disk.
  std::uint64_t experts_used = 0;          ///< Experts that passes needed, of a mixture of experts.
  std::uint64_t experts_found = 0;         ///< Those of them that were in memory already.
  Bytes experts_missed{};                  ///< Bytes of the others.
  Bytes experts_read{};                    ///< Bytes of experts that were read, in whole blocks.
  std::uint64_t experts_prefetched = 0;    ///< Experts that were read because a pass was expected to need them.
  Bytes experts_wasted{};                  ///< Bytes of those of them that were not needed.
  Bytes loaded{};                          ///< Bytes of weights that were read to start.
  std::uint32_t running = 0;               ///< Requests that are computed now.
  std::uint32_t waiting = 0;               ///< Requests that wait now.
  std::uint32_t free_tokens = 0;           ///< Tokens for which the KV cache has room now.
};

/// A request as Session::read() has read it: its tokens, the grammar of its answer, and how that is taken apart. For one
/// session, which outlives it. Threading: one thread at a time.
class BRIMFUL_API Request {
 public:
  Request(Request&&) noexcept;
  Request& operator=(Request&&) noexcept;
  ~Request();

  [[nodiscard]] std::size_t prompt_tokens() const;
  /// What cannot be done as asked, as in Completion::notes.
  [[nodiscard]] const std::vector<std::string>& notes() const;

 private:
  friend class Session;
  struct Content;
  explicit Request(std::unique_ptr<Content> content);
  std::unique_ptr<Content> content_;
};

/// A model in memory, inside budgets, that answers requests. The end of a session gives every byte back.
///
/// Threading: one thread at a time, except for cancel_all(), read(), tokenize() and text_of(). It may be moved while requests are on their way, but not
/// by a callback. Sessions after one another in one process are fine; two at the same time count each other's memory as
/// held by the program.
class BRIMFUL_API Session {
 public:
  /// Plans, reserves the memory, and reads the weights that stay. Blocks for as long as that takes.
  /// Errors: kInfeasible, as Model::plan(); kBudgetExceeded where the program holds more than its budget;
  /// kInvalidArgument for a device without such a name, and for a number of `context` that cannot be; kIo;
  /// kUnsupported; kCancelled by `on_progress`.
  [[nodiscard]] static Result<Session> start(const Model& model, const Budgets& budgets = {},
                                             const ContextOptions& context = {}, const OnProgress& on_progress = {});
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  /// Answers one prompt; requests that were submitted before go on meanwhile. Blocks until the answer has ended.
  /// Errors: kInvalidArgument for a prompt without a token or with more than the context holds, for options out of
  /// range, and for a grammar or a schema that cannot be followed; kUnsupported for messages where the model has no
  /// chat template, or it refuses them; those of step(). An answer that `on_text`, cancel() or cancel_all() ended is no
  /// error.
  [[nodiscard]] Result<Completion> generate(const Prompt& prompt, const SamplingOptions& sampling = {},
                                            const OnText& on_text = {});

  /// Puts a request into the queue, and computes nothing of it but its tokens and its grammar. Errors: those of
  /// generate() that the request is to blame for; its callbacks are not called then.
  [[nodiscard]] Result<RequestId> submit(const Prompt& prompt, const SamplingOptions& sampling, Callbacks callbacks,
                                         const RequestOptions& options = {});
  /// The first half of submit(), which takes the longest where strangers send grammars, templates or long texts. Safe to
  /// call from any thread, also while another one computes, as long as the session is neither moved nor ended meanwhile.
  /// Errors: those of submit().
  [[nodiscard]] Result<Request> read(const Prompt& prompt, const SamplingOptions& sampling = {},
                                     const RequestOptions& options = {}) const;
  /// The second half. Errors: kInvalidArgument for a prompt without a token or with more than the context holds.
  [[nodiscard]] Result<RequestId> submit(Request request, Callbacks callbacks);
  /// Computes one pass of all requests that run. Returns false where there is nothing to do. Before, it does what
  /// `brimful ctl` asks for, see ContextOptions::control_socket.
  /// Errors: kIo where a weight cannot be read: nothing is lost, and step() may be called again. kCancelled after
  /// cancel_all(), when every request has ended: the session goes on with requests that come later. kInvalidArgument
  /// inside a callback; kInternal after a change of budgets failed with it.
  [[nodiscard]] Result<bool> step();
  /// Ends a request: its answer is what there is, with StopReason::kCancelled. Its on_text is not called any more, and
  /// its on_end is called before cancel() returns; where a callback calls cancel(), it is called soon after. Does
  /// nothing where the request has ended.
  void cancel(RequestId request);

  /// The tokens of a text. `special`: the tokens that the model wants around a text are put there, and names of special
  /// tokens in the text become these tokens. Errors: kUnsupported for a text that the model's vocabulary cannot express;
  /// kInvalidArgument for one that takes too much memory or time.
  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize(std::string_view text, bool special = true) const;
  /// The same with two switches. `around`: the tokens that the model wants around a text are put there. `names`: names
  /// of special tokens in the text become these tokens.
  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize(std::string_view text, bool around, bool names) const;
  /// The text of tokens; a character may be cut at either end. `special`: special tokens become their names, and
  /// otherwise nothing. Errors: kInvalidArgument for an id that the vocabulary does not have.
  [[nodiscard]] Result<std::string> text_of(const std::vector<std::int32_t>& tokens, bool special = false) const;

  /// The vector that a model makes of a text: of an embedding model, pooled as it says; of one that writes text, the
  /// hidden state of the last token. It is not normalised. Special tokens are put around the text as the model wants,
  /// and not read in it. Requests that were submitted before go on meanwhile. Errors: kUnsupported for a model that
  /// makes none; kInvalidArgument for a text that is longer than the context, or than a pass of an embedding model;
  /// those of step().
  [[nodiscard]] Result<std::vector<float>> embed(std::string_view text);
  /// The vectors of several texts, in their order. They are computed at once, as far as a pass holds them. Of each
  /// prompt only `text` or `tokens` counts. Errors: those of embed(): none has a vector then.
  [[nodiscard]] Result<std::vector<std::vector<float>>> embed_all(const std::vector<Prompt>& texts);

  /// Carries on inside other budgets, with the same context; the tokens that follow are the same. Requests that are on
  /// their way go on with the next step(). A budget that is not given keeps its value. Blocks for as long as weights
  /// move.
  /// Errors: kInfeasible, kInvalidArgument for a GPU that the session did not start with, kBudgetExceeded, kIo: the old
  /// budgets hold again. kInternal where they could not be restored: only the end of the session helps then.
  [[nodiscard]] Status change_budgets(const Budgets& budgets);
  /// Where every byte is, now.
  [[nodiscard]] Account account() const;
  /// What the session has done until now.
  [[nodiscard]] Statistics statistics() const;
  /// Tokens that the context holds: a prompt and its answer together, of all requests that are computed at once.
  [[nodiscard]] std::uint32_t context() const;
  /// What was adapted to the budgets, one sentence each.
  [[nodiscard]] std::vector<std::string> notes() const;

  /// Writes what was recorded, for chrome://tracing and Perfetto. Errors: kInvalidArgument without
  /// ContextOptions::trace; kIo.
  [[nodiscard]] Status write_trace(const std::filesystem::path& file) const;
  /// A descriptor for poll(), which can be read where `brimful ctl` asks for something: call step() then, also where no
  /// request is on its way. It belongs to the session. Unset without a control socket.
  [[nodiscard]] std::optional<int> control_descriptor() const;

  /// Ends the pass that is being computed, and makes this step(), or else the next one, end every request that is on
  /// its way then. Where there is none, a step() only tells of it, and what is submitted afterwards is not touched.
  /// Safe to call from any thread and in a signal handler, as long as the session is neither moved nor ended meanwhile.
  void cancel_all() noexcept;

 private:
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace brimful

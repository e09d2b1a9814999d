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

/// A call of a tool that the model requests.
struct ToolCall {
  /// The id that the model gives, or nine random letters and digits if it gives none.
  std::string id{};
  std::string name{};
  /// The arguments as JSON, as the model generated them. They are not checked against the tool's parameters.
  std::string arguments{};
};

/// One message of a chat.
struct Message {
  /// `system`, `user`, `assistant` or `tool`, or any other role that the model's chat template supports.
  std::string role{};
  std::string content{};
  /// The reasoning of the assistant before this message. Empty: none. The chat template decides whether the model gets
  /// it again.
  std::string reasoning{};
  /// The calls of tools that the assistant requested in this message.
  std::vector<ToolCall> tool_calls{};
  /// Only for the role `tool`: the id of the call whose result this message is. Otherwise empty.
  std::string tool_call_id{};
  /// The name of the tool, or of the speaker. Empty: none.
  std::string name{};
};

/// A tool that the model may request.
struct Tool {
  std::string name{};
  std::string description{};  ///< What the tool does, for the model.
  /// A JSON schema of the arguments, as JSON. Empty: any JSON object is valid.
  std::string parameters{};
  /// True: the request fails if llama.cpp cannot enforce a part of `parameters`.
  bool strict = false;
};

/// Whether an answer may, must or must not request a tool.
enum class ToolChoice { kAuto, kRequired, kNone };

/// The input of a request. Set exactly one of `text`, `tokens` and `messages`. In texts and messages, names of special
/// tokens such as `</s>` become these tokens, and the BOS token is added at the beginning if the model expects one.
struct Prompt {
  /// A text to complete.
  std::string text{};
  /// A text to complete, as token ids. No tokens are added. See Session::tokenize().
  std::vector<std::int32_t> tokens{};
  /// A chat, which the model's chat template turns into a text. All fields below apply to a chat only.
  std::vector<Message> messages{};
  /// Tools that the model may request: see Completion::tool_calls.
  std::vector<Tool> tools{};
  ToolChoice tool_choice = ToolChoice::kAuto;
  /// Whether an answer may request more than one call. Unset: if the chat template supports it. True: always.
  std::optional<bool> parallel_tool_calls{};
  /// Whether the model reasons before it answers. Ignored if its chat template has no such option.
  bool thinking = true;
  /// The largest number of tokens of reasoning. At the limit, the reasoning is ended and the answer begins. Unset: no
  /// limit.
  std::optional<std::uint32_t> thinking_tokens{};
  /// True: the reasoning is in Completion::reasoning. False: it stays in Completion::text, with its tags.
  bool thoughts_apart = true;
  /// True: the last message has the role `assistant`, and the answer continues it.
  bool continues_last_message = false;
  /// Additional variables for the chat template, by name; the values are JSON.
  std::map<std::string, std::string> template_arguments{};
};

/// A token and the natural logarithm of its probability, before temperature and the other samplers change it.
struct TokenLogProbability {
  std::int32_t token = 0;
  double log_probability = 0;
};

/// The log probabilities for one token of an answer.
struct LogProbabilities {
  TokenLogProbability written{};  ///< The generated token.
  /// The most probable tokens, the most probable one first. SamplingOptions::top_log_probabilities is their number.
  std::vector<TokenLogProbability> top{};
};

/// Which requests run first. Interactive ones may preempt background ones, which continue later with the same tokens.
enum class Priority { kInteractive, kBackground };

/// How a request is scheduled among other requests.
struct RequestOptions {
  Priority priority = Priority::kInteractive;
  /// True: if no other request runs at the same time, the request gets the same tokens as in a new session. Unset: true
  /// if the temperature is 0 or a seed is set.
  std::optional<bool> repeatable{};
};

/// The time and the work of one answer. A pass that computes several requests counts for each of them, with its full
/// time.
struct Timings {
  /// From the submission until the first token was generated. 0 if none was.
  double first_token_seconds = 0;
  double seconds = 0;         ///< From the submission to the end.
  double prompt_seconds = 0;  ///< Passes that computed tokens of the prompt.
  double answer_seconds = 0;  ///< Passes that computed tokens of the answer.
  std::uint64_t answer_passes = 0;          ///< The number of those passes.
  std::uint64_t draft_tokens = 0;           ///< Tokens that were computed as drafts.
  std::uint64_t draft_tokens_accepted = 0;  ///< Draft tokens that became part of the answer.
  std::uint32_t preempted = 0;              ///< How often the request was preempted by others.
};

/// Why an answer ended.
enum class StopReason {
  kEndOfText,    ///< The model ended it.
  kLimit,        ///< SamplingOptions::max_tokens were generated.
  kContextFull,  ///< The context is full, or the request has reached the limit of one: ContextOptions::tokens.
  kStopString,   ///< One of SamplingOptions::stop was generated.
  kCancelled,    ///< The caller ended it.
};

/// An answer.
struct Completion {
  /// The text of the answer, without the stop string. For a chat it is valid UTF-8: invalid bytes become U+FFFD. For a
  /// text to complete, it may have invalid UTF-8, as the model generates it. If `on_text` ended the answer, the text
  /// has everything up to there.
  std::string text{};
  std::string reasoning{};  ///< The reasoning of the model, if its chat template separates it from the answer.
  /// The calls of tools that the model requests. The caller runs the tools, and sends the results as messages with the
  /// role `tool`.
  std::vector<ToolCall> tool_calls{};
  std::vector<std::int32_t> tokens{};  ///< The ids of all generated tokens, with the end-of-text token.
  /// One for each of `tokens`. Empty unless SamplingOptions::top_log_probabilities is set.
  std::vector<LogProbabilities> log_probabilities{};
  std::size_t prompt_tokens = 0;         ///< Tokens of the prompt.
  std::size_t prompt_tokens_cached = 0;  ///< Tokens of the prompt that were in the KV cache already.
  StopReason reason = StopReason::kEndOfText;
  /// What of the request was not done as asked, such as parts of a schema that are not enforced; one sentence each.
  std::vector<std::string> notes{};
  Timings timings{};
};

/// What is new in an answer while it is generated. Texts are whole UTF-8 characters if the request is a chat. One of
/// `text`, `reasoning` and `call` is set, or none if the delta has log probabilities only.
struct Delta {
  std::string text{};
  std::string reasoning{};
  struct Call {
    std::size_t index = 0;  ///< The index of the call in Completion::tool_calls.
    /// What is new in the call: `id` and `name` in its first delta only, and then pieces of `arguments`.
    ToolCall added{};
  };
  std::optional<Call> call{};
  /// The log probabilities of the tokens that were generated since the last delta. Those of the last tokens of an
  /// answer may be missing here; Completion::log_probabilities has them all.
  std::vector<LogProbabilities> log_probabilities{};
};

/// Gets the next piece of the text of an answer, without reasoning and calls of tools. A piece may end inside a UTF-8
/// character. Returning false ends the answer; the function is not called again then.
using OnText = std::function<bool(std::string_view piece)>;

/// Gets the progress of loading: `done` of `total` bytes. Returning false cancels it: Session::start() fails with
/// kCancelled.
using OnProgress = std::function<bool(Bytes done, Bytes total)>;

/// Identifies a request of Session::submit(). A session uses no id twice.
using RequestId = std::uint64_t;

/// The callbacks of a request; each may be unset. The session calls them inside its functions that compute or cancel,
/// on the thread of their caller. A callback may call only these functions of this session: read(), tokenize(),
/// text_of(), submit(), cancel() and cancel_all(). If a callback throws, the session finishes the pass, and the
/// exception then leaves the function of the session. If on_text or on_delta throws, the request is cancelled, too.
struct Callbacks {
  OnText on_text{};
  /// Gets everything that is new in the answer: its text, which on_text gets as well, its reasoning and its calls of
  /// tools. Returning false ends the answer; neither function is called again then.
  std::function<bool(const Delta& delta)> on_delta{};
  /// Called exactly once, when the request ends. If the session is destroyed first, its destructor calls on_end, and
  /// ignores an exception. A request that was cancelled gives a Completion with what was generated until then. Errors:
  /// those that this request has caused. Errors of the session come from step().
  std::function<void(Result<Completion>)> on_end{};
};

/// What a session has done since it started, and what it does now.
struct Statistics {
  std::uint64_t passes = 0;                 ///< A pass computes tokens of all requests that run.
  std::uint64_t prompt_tokens = 0;          ///< Prompt tokens that were computed.
  std::uint64_t prompt_tokens_cached = 0;   ///< Prompt tokens that were in the KV cache already.
  std::uint64_t tokens = 0;                 ///< Tokens that were generated.
  std::uint64_t draft_tokens = 0;           ///< Tokens that were computed as drafts.
  std::uint64_t draft_tokens_accepted = 0;  ///< Draft tokens that became part of an answer.
  std::uint64_t preempted = 0;              ///< How often a request was preempted by others.
  std::uint32_t most_running = 0;           ///< The largest number of requests that ran at the same time.
  double seconds = 0;                       ///< The time of all passes.
  double prompt_seconds = 0;                ///< The sum of Timings::prompt_seconds of all requests.
  double answer_seconds = 0;                ///< The sum of Timings::answer_seconds of all requests.
  double draft_seconds = 0;                 ///< The time in which drafts were made; not part of `seconds`.
  std::uint64_t answer_passes = 0;          ///< Passes that computed one token of each request and nothing else.
  std::uint64_t answer_pass_tokens = 0;     ///< The tokens of answers that `answer_passes` gave, one for each request.
    double answer_pass_seconds = 0;           ///< The time of `answer_passes`.
  double stalled_seconds = 0;               ///< The part of `seconds` in which the computation waited for the disk.
  Bytes read{};                             ///< Bytes that passes read from disk, those of experts included.
  std::uint64_t experts_used = 0;           ///< Experts that were used, counted once for each layer and pass. 0: none.
    std::uint64_t experts_found = 0;          ///< How many of `experts_used` were in memory already.
  Bytes experts_missed{};                   ///< Bytes of the experts that were used and were not in memory.
  Bytes experts_read{};                     ///< Bytes that were read for experts, in whole blocks of the disk.
  std::uint64_t experts_prefetched = 0;     ///< Experts that were read because a pass was expected to use them.
  Bytes experts_wasted{};                   ///< Bytes of prefetched experts that no pass used.
  Bytes loaded{};                           ///< Bytes of weights that Session::start() read.
  std::uint32_t running = 0;                ///< Requests that run now.
  std::uint32_t waiting = 0;                ///< Requests that wait now.
  std::uint32_t free_tokens = 0;            ///< The free space of the KV cache now, in tokens.
};

/// A request that Session::read() has read: the tokens of its prompt, the grammar of its answer, and how the answer is
/// parsed. Submit it only to the session that has read it, and destroy it before that session. Threading: one thread at
/// a time.
class BRIMFUL_API Request {
 public:
  Request(Request&&) noexcept;
  Request& operator=(Request&&) noexcept;
  ~Request();

  [[nodiscard]] std::size_t prompt_tokens() const;  ///< The number of tokens of the prompt.
  /// What of the request will not be done as asked; see Completion::notes. Lifetime: as the request.
  [[nodiscard]] const std::vector<std::string>& notes() const;

 private:
  friend class Session;
  struct Content;
  explicit Request(std::unique_ptr<Content> content);
  std::unique_ptr<Content> content_;
};

/// A model in memory, inside budgets, that answers requests. Destroying a session gives all of its memory back.
///
/// Threading: one thread at a time, except for cancel_all(), read(), tokenize() and text_of(). A session may be moved
/// while requests are pending, but not inside a callback. A program may have one session after another. If it has two
/// at the same time, each counts the other's memory as memory of the calling program.
class BRIMFUL_API Session {
 public:
  /// Plans, reserves the memory, and reads the weights that stay in memory. Blocks for as long as that takes.
  /// Errors: kInfeasible as for Model::plan(); kBudgetExceeded if the program holds more memory than its budget;
  /// kInvalidArgument if no device has a given name, or a value of `context` is out of its range; kIo; kUnsupported;
  /// kCancelled if `on_progress` returned false.
  [[nodiscard]] static Result<Session> start(const Model& model, const Budgets& budgets = {},
                                             const ContextOptions& context = {}, const OnProgress& on_progress = {});
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  /// Answers one prompt. Requests that were submitted before continue at the same time. Blocks until the answer has
  /// ended.
  /// Errors: kInvalidArgument if the prompt has no tokens or more than the context holds, if an option is out of its
  /// range, and if a grammar or a schema is invalid or cannot be enforced; kUnsupported if the model has no chat
  /// template, or its template refuses the messages; all errors of step(). If `on_text`, cancel() or cancel_all() ends
  /// the answer, that is no error.
  [[nodiscard]] Result<Completion> generate(const Prompt& prompt, const SamplingOptions& sampling = {},
                                            const OnText& on_text = {});

  /// Adds a request to the queue. The call makes the tokens of the prompt and builds the grammar; step() computes the
  /// answer. Errors: the errors of generate() that the request causes. No callback is called then.
  [[nodiscard]] Result<RequestId> submit(const Prompt& prompt, const SamplingOptions& sampling, Callbacks callbacks,
                                         const RequestOptions& options = {});
  /// The first half of submit(): makes the tokens and the grammar of a request. This can take seconds if untrusted
  /// users send grammars, templates or long texts. Threading: any thread, also while another one computes, as long as
  /// the session is neither moved nor destroyed. Errors: those of submit().
  [[nodiscard]] Result<Request> read(const Prompt& prompt, const SamplingOptions& sampling = {},
                                     const RequestOptions& options = {}) const;
  /// The second half: adds the request to the queue. Errors: kInvalidArgument if the prompt has no tokens or more than
  /// the context holds.
  [[nodiscard]] Result<RequestId> submit(Request request, Callbacks callbacks);
  /// Carries out what `brimful ctl` asks for (see ContextOptions::control_socket), and then computes one pass of all
  /// requests that run. Returns false if there is nothing to compute.
  /// Errors: kIo if a weight cannot be read; nothing is lost then, and step() may be called again. kCancelled after
  /// cancel_all() has ended the requests; the session accepts new ones. kInvalidArgument inside a callback. kInternal
  /// after a change of budgets that failed with kInternal.
  [[nodiscard]] Result<bool> step();
  /// Ends a request. Its answer has what was generated until now, and StopReason::kCancelled. on_text is not called
  /// again, and on_end is called before cancel() returns, or soon after if a callback calls cancel(). Does nothing if
  /// the request has ended already.
  void cancel(RequestId request);

  /// Returns the tokens of a text. `special`: the BOS and EOS tokens are added as the model has them, and names of
  /// special tokens in the text become these tokens. Errors: kUnsupported if the model's vocabulary cannot express the
  /// text; kInvalidArgument if the text would take too much memory or time.
  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize(std::string_view text, bool special = true) const;
  /// As above, with separate options. `around`: the BOS and EOS tokens are added as the model has them. `names`: names
  /// of special tokens in the text become these tokens.
  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize(std::string_view text, bool around, bool names) const;
  /// Returns the text of tokens. A UTF-8 character may be cut at either end. `special`: special tokens become their
  /// names; otherwise they are left out. Errors: kInvalidArgument for an id that the vocabulary does not have.
  [[nodiscard]] Result<std::string> text_of(const std::vector<std::int32_t>& tokens, bool special = false) const;

  /// Returns the embedding of a text: for an embedding model, the pooled vector, with the pooling that the model names;
  /// for a model that generates text, the hidden state of the last token. The vector is not normalised. BOS and EOS
  /// tokens are added as the model has them; names of special tokens in the text stay text. Requests that were
  /// submitted before continue at the same time. Errors: kUnsupported if the model can make no embedding;
  /// kInvalidArgument if the text is longer than the context, or for an embedding model longer than a pass; all errors
  /// of step().
  [[nodiscard]] Result<std::vector<float>> embed(std::string_view text);
  /// Returns the embeddings of several texts, in the same order. One pass computes as many of them as it can hold. Only
  /// `text` or `tokens` of each prompt is used. Errors: those of embed(). If one text fails, the whole call fails.
  [[nodiscard]] Result<std::vector<std::vector<float>>> embed_all(const std::vector<Prompt>& texts);

  /// Changes the budgets. The size of the context does not change, and requests get the same tokens as without the
  /// change. Pending requests continue with the next step(). A budget that is not given keeps its value. Blocks while
  /// weights are moved.
  /// Errors: kInfeasible; kInvalidArgument for a GPU that the session does not use; kBudgetExceeded; kIo. After these,
  /// the old budgets hold again. kInternal: the old budgets could not be restored, and the session can only be
  /// destroyed.
  [[nodiscard]] Status change_budgets(const Budgets& budgets);
  /// How all bytes of the budgets are used now.
  [[nodiscard]] Account account() const;
  /// What the session has done until now, and what it does.
  [[nodiscard]] Statistics statistics() const;
  /// The capacity of the context in tokens. All requests that run share it, each with its prompt and its answer.
  [[nodiscard]] std::uint32_t context() const;
  /// What was changed to fit the budgets, one sentence each.
  [[nodiscard]] std::vector<std::string> notes() const;

  /// Writes the recorded trace, for chrome://tracing and Perfetto. Errors: kInvalidArgument if ContextOptions::trace
  /// was false; kIo.
  [[nodiscard]] Status write_trace(const std::filesystem::path& file) const;
  /// A file descriptor for poll(). It becomes readable when `brimful ctl` asks for something: call step() then, even if
  /// no request is pending. The session owns it. Unset without a control socket.
  [[nodiscard]] std::optional<int> control_descriptor() const;

  /// Aborts the pass that is being computed. The step() that runs, or the next one if none runs, ends all requests that
  /// are pending when it returns, and returns kCancelled. If no request was pending at the call, that step() only
  /// returns kCancelled, and a request that is submitted first is not affected. Threading: any thread, and in a signal
  /// handler, as long as the session is neither moved nor destroyed.
  void cancel_all() noexcept;

 private:
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace brimful

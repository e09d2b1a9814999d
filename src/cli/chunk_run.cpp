#include "cli/chunk_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "base/hash.h"
#include "base/in_threads.h"
#include "base/standard_error.h"
#include "base/user_folders.h"
#include "cli/answer_settings.h"
#include "cli/model_choice.h"
#include "cli/start.h"
#include "engine/tokenize.h"
#include "foreign/fence.h"
#include "hardware/compute_threads.h"
#include "hardware/host_memory.h"

namespace brimful::cli {
namespace {

constexpr std::uint32_t kUsualChunk = 512;
constexpr std::uint32_t kSmallestChunk = 4;
constexpr std::uint32_t kLargestChunk = 1U << 20;
constexpr Bytes kLongestText{1ULL << 30};
// Of the memory that is free before the context is made, a text may take so much while it is tokenized.
constexpr std::uint64_t kShareOfText = 2;
// Less than any context takes: where even that is missing, the context does not fit, and says by how much.
constexpr Bytes kLeastForText{2ULL << 20};
// llama.cpp takes up to so many bytes for each byte of a text.
constexpr std::uint64_t kOfEachByte = 75;
constexpr Bytes kThreadStack{144 * 1024};
constexpr std::chrono::milliseconds kBetweenLooks{200};
constexpr std::chrono::seconds kBetweenLines{60};

std::atomic<engine::Engine*> interruptible{nullptr};
std::atomic<int> stops{0};

void on_stop(int) {
  if (++stops > 1) std::_Exit(130);
  if (engine::Engine* const engine = interruptible.load()) engine->abort();
}

Result<std::string> read_text(const ChunkOptions& options) {
  const std::string& file = *options.run.prompt_file;
  std::error_code error;
  if (const auto size = std::filesystem::file_size(file, error); !error && size > kLongestText.value) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: a text may have {}, and it has {}: use a part of it", file,
                            format_bytes(kLongestText), format_bytes(Bytes{size})));
  }
  BRIMFUL_TRY(std::optional<std::string> text, read_prompt(options.run));
  if (text->empty()) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: the text is empty", file));
  if (const std::size_t zero = text->find('\0'); zero != std::string::npos)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: it is no text: byte {} is zero", file, zero + 1));
  return std::move(*text);
}

/// Tokenizes the text with the memory that the budget leaves: llama.cpp takes many times the text's size.
Result<std::vector<llama_token>> tokens_of(const ChunkOptions& options, const engine::Engine& engine,
                                           const engine::OpenOptions& open) {
  BRIMFUL_TRY(const std::string text, read_text(options));
  BRIMFUL_TRY(const hardware::ProcessMemory process, hardware::read_process_memory());
  Bytes most{1ULL << 40};
  if (open.ram) {
    const Bytes room = saturating_sub(*open.ram, hardware::held_bytes(process));
    most = std::max(Bytes{room.value / kShareOfText}, kLeastForText);
  }
  const foreign::FenceLimits limits{.bytes = most, .time = std::chrono::hours(1)};
  auto tokens = foreign::fenced(limits, [&](const foreign::Fence&) {
    return engine::tokenize(engine.vocab(), text, true, options.parse_special);
  });
  if (tokens) return std::move(*tokens);
  const Bytes enough = hardware::held_bytes(process) + Bytes{text.size() * kOfEachByte * kShareOfText};
  return fail(
      ErrorCode::kInfeasible,
      fmt::format(
          "{}: {} of text cannot be tokenized inside --ram {} ({}): use a part of the text, or --ram {}MiB",
          *options.run.prompt_file, format_bytes(Bytes{text.size()}), options.run.ram.value_or("auto"),
          tokens.error().message, align_up(enough, kMiB).value / kMiB.value));
}

Status check_model(const engine::Engine& engine, const std::string& model) {
  if (engine.only_embeds())
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: it only makes embeddings: it does not predict tokens", model));
  if (llama_vocab_get_add_eos(engine.vocab()))
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: its tokenizer ends every text with a token, so that chunks of a text mean nothing",
                    model));
  return {};
}

Result<std::uint32_t> chunk_size(const ChunkOptions& options, const GivenTokens* given) {
  const std::uint32_t size =
      options.run.context.value_or(given != nullptr ? given->chunk_tokens : kUsualChunk);
  if (size < kSmallestChunk || size > kLargestChunk)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("-c {}: a chunk has {} to {} tokens", size, kSmallestChunk, kLargestChunk));
  if (given != nullptr && size != given->chunk_tokens)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("-c {}: the reference was computed in chunks of {} tokens: use -c {}", size,
                            given->chunk_tokens, given->chunk_tokens));
  return size;
}

std::string identity_of(const batch::Settings& settings, const ChunkOptions& options, const ChunkText& text) {
  Hash64 hash;
  for (const llama_token token : text.tokens)
    hash.add(std::string_view(reinterpret_cast<const char*>(&token), sizeof token));
  std::string devices;
  for (const auto& device : {options.run.vram, options.run.rpc}) devices += device.value_or("") + "|";
  for (const std::string& rule : options.run.overrides) devices += rule + "|";
  Hash64 of_devices;
  of_devices.add(devices);
  return fmt::format("{} text {:016x} chunks {} of {} devices {:016x}", batch::fingerprint(settings),
                     hash.value(), text.chunks, text.chunk_tokens, of_devices.value());
}

}  // namespace

void add_chunk_flags(CLI::App& command, ChunkOptions& options) {
  RunOptions& o = options.run;
  o.longest_draft = 0;
  command.add_option("-m,--model,model", o.model,
                     "GGUF file (of a split model: the first part), or the name of a model in the cache");
  add_hub_flag(command, o);
  command.add_option("-f,--file", o.prompt_file, "text to compute ('-': standard input)");
  command.add_option("--chunks", options.chunks, "most chunks to compute (-1: all of the text)")
      ->capture_default_str();
  command.add_flag("--parse-special", options.parse_special,
                   "names of special tokens in the text become these tokens");
  command.add_option("--checkpoint", options.checkpoint,
                     "file for the state after each pass, from which the same command goes on (default: one "
                     "for each computation)");
  command.add_flag("--restart", options.restart, "begin again, in place of going on");
  command.add_flag("--json", options.json, "write the result as JSON");
  const std::string memory = "Memory";
  command.add_option("-c,--ctx-size", o.context, "tokens of a chunk (default: 512)")->group(memory);
  command
      .add_option(
          "-b,--batch-size", o.batch,
          "tokens of the chunks that are computed together, as in llama.cpp (default: as many as read "
          "the fewest bytes)")
      ->group(memory);
  command
      .add_option("--ubatch-size,--ub", o.ubatch,
                  "tokens computed in one pass (default: as -b; with -b: 512)")
      ->group(memory);
  add_host_flags(command, o);
  add_device_flags(command, o);
}

Result<ChunkText> open_text(const ChunkOptions& options, const GivenTokens* given) {
  if (!options.run.prompt_file && given == nullptr)
    return fail(ErrorCode::kInvalidArgument, "name the text with -f FILE");
  if (options.chunks == 0 || options.chunks < -1)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--chunks {}: compute at least one chunk, or all with -1", options.chunks));
  ChunkText out;
  BRIMFUL_TRY(engine::OpenOptions open, open_options(options.run));
  BRIMFUL_TRY(out.chunk_tokens, chunk_size(options, given));
  BRIMFUL_TRY(const batch::Settings settings, answer_settings(options.run, open, ""));
  const engine::OpenOptions opened = open;
  BRIMFUL_TRY(out.engine, engine::Engine::open(std::move(open)));
  BRIMFUL_TRY_VOID(check_model(*out.engine, options.run.model));
  if (options.run.prompt_file) {
    BRIMFUL_TRY(out.tokens, tokens_of(options, *out.engine, opened));
  } else {
    out.tokens = given->tokens;
  }
  const std::size_t least = given != nullptr ? out.chunk_tokens : std::size_t{2} * out.chunk_tokens;
  if (out.tokens.size() < least) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "{}: it has {} tokens, and {} are needed for chunks of {}: use a longer text, or a smaller -c",
            options.run.prompt_file.value_or("the reference"), out.tokens.size(), least, out.chunk_tokens));
  }
  std::size_t chunks = out.tokens.size() / out.chunk_tokens;
  if (options.chunks > 0) chunks = std::min(chunks, static_cast<std::size_t>(options.chunks));
  if (given != nullptr) {
    const std::size_t known = given->tokens.size() / out.chunk_tokens;
    if (options.run.prompt_file && chunks > known && options.chunks < 0) chunks = known;
    if (chunks > known)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--chunks {}: the reference has only {}", options.chunks, known));
  }
  out.chunks = static_cast<std::uint32_t>(chunks);
  out.tokens.resize(chunks * out.chunk_tokens);
  out.tokens.shrink_to_fit();
  if (given != nullptr && !std::ranges::equal(out.tokens, std::span(given->tokens).first(out.tokens.size())))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the reference was computed from another text, or with another vocabulary",
                            *options.run.prompt_file));
  const auto trained = static_cast<std::uint32_t>(std::max(0, llama_model_n_ctx_train(out.engine->model())));
  if (trained > 0 && out.chunk_tokens > trained)
    tell_note(fmt::format("-c {}: the model was trained with {} tokens", out.chunk_tokens, trained));
  out.identity = identity_of(settings, options, out);
  return out;
}

Result<eval::Checkpoint> open_checkpoint(const ChunkOptions& options, const std::string& usual,
                                         const std::string& identity) {
  std::filesystem::path file = options.checkpoint.value_or(usual);
  std::error_code ignored;
  if (file.empty()) {
    Hash64 hash;
    hash.add(identity);
    file = state_folder() / "eval" / fmt::format("{:016x}.state", hash.value());
    std::filesystem::create_directories(file.parent_path(), ignored);
  }
  BRIMFUL_TRY(eval::Checkpoint out, eval::Checkpoint::open(file, identity));
  if (out.is_no_checkpoint())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is no checkpoint: name another file with --checkpoint", file.string()));
  if (options.restart) std::filesystem::remove(file, ignored);
  if (out.is_of_another()) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: it holds the state of another model, text or setting: name another file with "
                    "--checkpoint, or begin again with --restart",
                    file.string()));
  }
  return out;
}

Result<engine::ContextOptions> chunk_context(const ChunkOptions& options, Bytes reserve) {
  BRIMFUL_TRY(engine::ContextOptions out, context_options(options.run));
  out.client_reserve = [reserve](Bytes) { return reserve; };
  return out;
}

eval::WantedShape wanted_shape(const ChunkOptions& options, const std::optional<eval::ChunkShape>& before) {
  return {.batch = options.run.batch, .ubatch = options.run.ubatch, .fixed = before};
}

StopOnSignal::StopOnSignal(engine::Engine& engine) {
  interruptible = &engine;
  struct sigaction action {};
  action.sa_handler = on_stop;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

StopOnSignal::~StopOnSignal() { interruptible = nullptr; }

bool StopOnSignal::stopped() { return stops > 0; }

ChunkProgress::ChunkProgress(std::string what, std::uint32_t already, std::uint32_t chunks)
    : what_(std::move(what)), already_(already), chunks_(chunks), terminal_(::isatty(STDERR_FILENO) != 0) {}

void ChunkProgress::show(std::uint32_t done) {
  const auto now = Clock::now();
  if (now - shown_ < (terminal_ ? kBetweenLooks : kBetweenLines) || done <= already_) return;
  shown_ = now;
  const std::chrono::duration<double> took = now - begin_;
  const double left = took.count() / (done - already_) * (chunks_ - done);
  wipe();
  tell("{} {} of {} chunks, {}{}", what_, done, chunks_,
       left < 120 ? fmt::format("{:.0f} s left", left) : fmt::format("{:.0f} min left", left / 60),
       terminal_ ? "" : "\n");
}

void ChunkProgress::wipe() {
  if (terminal_) tell("\r\033[K");
}

int scoring_threads(const ChunkOptions& options) {
  const auto& wanted = options.run.threads_batch ? options.run.threads_batch : options.run.threads;
  return hardware::choose_threads(wanted, hardware::read_compute_limits(), "-t").threads;
}

void for_rows(std::size_t count, int threads, const std::function<void(std::size_t)>& work) {
  in_threads(static_cast<std::int64_t>(count), static_cast<unsigned>(threads),
             [&](std::int64_t row) { work(static_cast<std::size_t>(row)); });
}

Bytes memory_of_rows(int threads) { return kThreadStack * static_cast<std::uint64_t>(threads); }

}  // namespace brimful::cli

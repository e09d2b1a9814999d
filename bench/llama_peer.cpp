// Plain llama.cpp, as the benchmark's opponent: greedy decoding through llama.h, with the same options and
// the same statistics as `brimful run`, and nothing of Brimful.

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "ggml-cpu.h"
#include "llama.h"

namespace {

struct Options {
  std::string model;
  std::string load_mode = "mmap";
  std::string repack = "off";
  std::string back_ends;  // folder of plug-ins; empty: none
  int gpu_layers = 0;
  int cpu_moe_layers = 0;
  bool op_offload = true;
  bool no_host = false;
  int sequences = 1;
  int threads = 2;
  int threads_batch = 0;  // 0 = as threads
  int poll = -1;          // how long threads spin while they wait: 0 to 100; -1: llama.cpp's default
  std::uint32_t context = 512;
  std::uint32_t batch = 2048;
  std::uint32_t ubatch = 512;
  int predict = 32;
  std::string prompt;
  std::string prompt_file;
  std::string tokens_file;
  int prompt_tokens = 0;
  bool count_only = false;
  std::string stats;
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <auto free_function>
struct Free {
  void operator()(auto* p) const { free_function(p); }
};
using Model = std::unique_ptr<llama_model, Free<llama_model_free>>;
using Context = std::unique_ptr<llama_context, Free<llama_free>>;
using ThreadPool = std::unique_ptr<ggml_threadpool, Free<ggml_threadpool_free>>;

Options parse_command_line(int argc, char** argv) {
  Options o;
  CLI::App app{"plain llama.cpp with the statistics of `brimful run`"};
  app.add_option("-m,--model", o.model)->required();
  app.add_option("--load-mode", o.load_mode)->check(CLI::IsMember({"mmap", "none", "dio", "mlock"}));
  app.add_option("--repack", o.repack)->check(CLI::IsMember({"on", "off"}));
  app.add_option("--back-ends", o.back_ends, "folder of ggml's plug-ins for GPUs");
  app.add_option("--ngl,--gpu-layers", o.gpu_layers);
  app.add_option("--n-cpu-moe", o.cpu_moe_layers);
  app.add_flag("!--no-op-offload", o.op_offload, "batches are computed where the weights are");
  app.add_flag("--no-host", o.no_host, "the host's weights may be repacked instead of pinned");
  app.add_option("--sequences", o.sequences,
                 "decode so many texts together: each the prompt and a number of its own")
      ->check(CLI::PositiveNumber);
  app.add_option("-t,--threads", o.threads);
  app.add_option("--tb,--threads-batch", o.threads_batch);
  app.add_option("--poll", o.poll, "how long threads spin while they wait, as llama.cpp's --poll")
      ->check(CLI::Range(0, 100));
  app.add_option("-c,--ctx-size", o.context);
  app.add_option("-b,--batch-size", o.batch);
  app.add_option("--ub,--ubatch-size", o.ubatch);
  app.add_option("-n,--predict", o.predict);
  app.add_option("-p,--prompt", o.prompt);
  app.add_option("-f,--file", o.prompt_file);
  app.add_option("--tokens-file", o.tokens_file, "token ids, separated by white space");
  app.add_option("--prompt-tokens", o.prompt_tokens,
                 "this many pseudo-random token ids, the same in every run");
  app.add_flag("--count-only", o.count_only, "print how many tokens the prompt has and stop");
  app.add_option("--stats", o.stats, "write the statistics here instead of to stdout");

  // llama.cpp spells these with one dash, which CLI11 would read as two short flags.
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (auto& argument : arguments) {
    if (argument == "-ub" || argument == "-tb" || argument == "-ngl") argument.insert(0, "-");
  }
  std::ranges::reverse(arguments);  // CLI11 takes a vector from its back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  if (o.threads_batch == 0) o.threads_batch = o.threads;
  return o;
}

std::vector<llama_token> tokenize(const llama_vocab* vocab, const std::string& text, bool special) {
  std::vector<llama_token> tokens(text.size() + 8);
  const int n =
      llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), tokens.data(),
                     static_cast<int>(tokens.size()), /*add_special=*/special, /*parse_special=*/true);
  if (n < 0) throw std::runtime_error("the prompt could not be tokenized");
  tokens.resize(static_cast<std::size_t>(n));
  return tokens;
}

std::vector<llama_token> pseudo_random_tokens(int count, int n_vocab) {
  std::vector<llama_token> tokens;
  std::uint32_t state = 1;
  while (static_cast<int>(tokens.size()) < count) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<llama_token>((state >> 8) % static_cast<std::uint32_t>(n_vocab)));
  }
  return tokens;
}

std::ifstream open_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return in;
}

std::vector<llama_token> prompt_of(const Options& o, const llama_vocab* vocab) {
  if (o.prompt_tokens > 0) return pseudo_random_tokens(o.prompt_tokens, llama_vocab_n_tokens(vocab));
  if (!o.tokens_file.empty()) {
    auto in = open_file(o.tokens_file);
    return {std::istream_iterator<llama_token>(in), {}};
  }
  if (!o.prompt_file.empty()) {
    auto in = open_file(o.prompt_file);
    return tokenize(vocab, std::string(std::istreambuf_iterator<char>(in), {}), true);
  }
  return tokenize(vocab, o.prompt, true);
}

Model load_model(const Options& o) {
  auto params = llama_model_default_params();
  params.n_gpu_layers = o.gpu_layers;
  // As llama.cpp's own --n-cpu-moe: the experts of the first layers stay in the CPU's memory.
  std::vector<std::string> patterns;
  for (int layer = 0; layer < o.cpu_moe_layers; ++layer)
    patterns.push_back("blk\\." + std::to_string(layer) + "\\.ffn_(up|down|gate|gate_up)_(ch|)exps");
  std::vector<llama_model_tensor_buft_override> overrides;
  for (const auto& pattern : patterns) overrides.push_back({pattern.c_str(), ggml_backend_cpu_buffer_type()});
  overrides.push_back({nullptr, nullptr});
  params.tensor_buft_overrides = overrides.data();
  params.load_mode = llama_load_mode_from_str(o.load_mode.c_str());
  params.use_extra_bufts = o.repack == "on";
  params.no_host = o.no_host;
  params.vocab_only = o.count_only;
  Model model(llama_model_load_from_file(o.model.c_str(), params));
  if (!model) throw std::runtime_error("llama.cpp could not load " + o.model);
  return model;
}

Context make_context(const Options& o, llama_model* model) {
  auto params = llama_context_default_params();
  params.n_ctx = o.context;
  params.n_batch = o.batch;
  params.n_ubatch = o.ubatch;
  params.n_threads = o.threads;
  params.n_threads_batch = o.threads_batch;
  params.op_offload = o.op_offload;
  params.n_seq_max = static_cast<std::uint32_t>(o.sequences);
  Context context(llama_init_from_model(model, params));
  if (!context) throw std::runtime_error("llama.cpp could not make a context");
  return context;
}

/// Returns the seconds it took. Sampling is not in them, on either side.
double decode(llama_context* context, const llama_batch& batch) {
  const auto start = Clock::now();
  if (llama_decode(context, batch) != 0) throw std::runtime_error("llama_decode failed");
  llama_synchronize(context);
  return seconds_since(start);
}

/// Tokens of several sequences that are computed together.
class Batch {
 public:
  explicit Batch(std::uint32_t size) : size_(size), batch_(llama_batch_init(static_cast<int>(size), 0, 1)) {}
  ~Batch() { llama_batch_free(batch_); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  [[nodiscard]] bool full() const { return batch_.n_tokens == static_cast<int>(size_); }
  [[nodiscard]] bool empty() const { return batch_.n_tokens == 0; }
  void add(llama_token token, llama_pos position, llama_seq_id sequence, bool output) {
    const int i = batch_.n_tokens++;
    batch_.token[i] = token;
    batch_.pos[i] = position;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = sequence;
    batch_.logits[i] = output;
  }
  [[nodiscard]] const llama_batch& get() const { return batch_; }
  void clear() { batch_.n_tokens = 0; }

 private:
  const std::uint32_t size_;
  llama_batch batch_;
};

llama_token best_token(llama_context* context, int n_vocab, int output) {
  const float* logits = llama_get_logits_ith(context, output);
  return static_cast<llama_token>(std::max_element(logits, logits + n_vocab) - logits);
}

/// The text of a token as Brimful's answers have it: nothing for control tokens.
std::string text_of(const llama_vocab* vocab, llama_token token) {
  std::string text(64, '\0');
  const auto piece = [&] {
    return llama_token_to_piece(vocab, token, text.data(), static_cast<int>(text.size()), /*lstrip=*/0,
                                /*special=*/false);
  };
  int size = piece();
  if (size < 0) {
    text.resize(static_cast<std::size_t>(-size));
    size = piece();
  }
  text.resize(static_cast<std::size_t>(std::max(size, 0)));
  return text;
}

double per_second(std::size_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

nlohmann::ordered_json measure(const Options& o) {
  const auto start = Clock::now();
  const Model model = load_model(o);
  const auto* vocab = llama_model_get_vocab(model.get());
  auto prompt = prompt_of(o, vocab);
  if (prompt.empty()) throw std::runtime_error("the prompt is empty");
  if (o.count_only) return {{"prompt", {{"tokens", prompt.size()}}}};

  // The pool comes before the context: it must outlive it. llama.cpp's own programs attach one too; without
  // it a build without OpenMP starts new threads for every token.
  auto pool_params = ggml_threadpool_params_default(std::max(o.threads, o.threads_batch));
  if (o.poll >= 0) pool_params.poll = static_cast<std::uint32_t>(o.poll);
  const ThreadPool pool(ggml_threadpool_new(&pool_params));
  const Context context = make_context(o, model.get());
  llama_attach_threadpool(context.get(), pool.get(), pool.get());
  const double load_seconds = seconds_since(start);

  const int n_vocab = llama_vocab_n_tokens(vocab);
  std::vector<std::vector<llama_token>> texts;
  for (int sequence = 0; sequence < o.sequences; ++sequence) {
    texts.push_back(prompt);
    if (o.sequences == 1) break;
    for (const llama_token id : tokenize(vocab, std::to_string(sequence), false)) texts.back().push_back(id);
  }
  Batch batch(o.batch);
  std::size_t prompt_tokens = 0;
  double prompt_seconds = 0;
  std::vector<llama_token> last(texts.size());  // of each sequence
  const auto compute = [&] {
    prompt_seconds += decode(context.get(), batch.get());
    for (int i = 0; i < batch.get().n_tokens; ++i) {
      if (batch.get().logits[i] != 0)
        last[static_cast<std::size_t>(batch.get().seq_id[i][0])] = best_token(context.get(), n_vocab, i);
    }
    batch.clear();
  };
  for (std::size_t s = 0; s < texts.size(); ++s) {
    prompt_tokens += texts[s].size();
    for (std::size_t i = 0; i < texts[s].size(); ++i) {
      if (batch.full()) compute();
      batch.add(texts[s][i], static_cast<llama_pos>(i), static_cast<llama_seq_id>(s),
                i + 1 == texts[s].size());
    }
  }
  compute();

  // The prompt's own pass gave the first token; every further one is a pass of its own.
  std::vector<llama_token> ids{last.front()};  // of the first sequence
  std::vector<double> passes;
  std::vector<std::string> answers(texts.size());
  const auto keep = [&] {
    for (std::size_t s = 0; s < texts.size(); ++s) answers[s] += text_of(vocab, last[s]);
  };
  keep();
  while (static_cast<int>(ids.size()) < o.predict) {
    for (std::size_t s = 0; s < texts.size(); ++s) {
      batch.add(last[s], static_cast<llama_pos>(texts[s].size() + ids.size() - 1),
                static_cast<llama_seq_id>(s), true);
    }
    passes.push_back(decode(context.get(), batch.get()));
    for (std::size_t s = 0; s < texts.size(); ++s)
      last[s] = best_token(context.get(), n_vocab, static_cast<int>(s));
    batch.clear();
    ids.push_back(last.front());
    keep();
  }
  const double decode_seconds = std::accumulate(passes.begin(), passes.end(), 0.0);
  return {{"model", o.model},
          {"load_mode", o.load_mode},
          {"repack", o.repack},
          {"load_seconds", load_seconds},
          {"prompt",
           {{"tokens", prompt_tokens}, {"tokens_per_second", per_second(prompt_tokens, prompt_seconds)}}},
          {"decode",
           {{"tokens", ids.size() * texts.size()},
            {"tokens_per_second", per_second(passes.size() * texts.size(), decode_seconds)},
            {"seconds", passes}}},
          {"token_ids", ids},
          {"texts", answers}};
}

/// Loads all plug-ins of a folder. ggml's own function for a folder knows only the names of its own back
/// ends.
void load_back_ends(const std::string& folder) {
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const std::string name = file.path().filename().string();
    if (name.starts_with("libggml-") && name.ends_with(".so") && name != "libggml-base.so")
      ggml_backend_load(file.path().c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse_command_line(argc, argv);
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  if (!options.back_ends.empty()) load_back_ends(options.back_ends);
  try {
    // A text that was cut within a character is no UTF-8.
    const auto stats = measure(options).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (options.stats.empty()) {
      std::cout << stats << '\n';
    } else {
      std::ofstream out(options.stats);
      if (!(out << stats << std::endl)) throw std::runtime_error("cannot write " + options.stats);
    }
  } catch (const std::exception& error) {
    std::cerr << "brimful-llama-peer: " << error.what() << '\n';
    return 1;
  }
}

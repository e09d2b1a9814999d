// The mean Kullback-Leibler divergence of models from a base model on a text, as llama-perplexity measures
// it: windows of 256 tokens from the text's beginning, of which the second half counts. It links none of
// Brimful's own code. Usage: brimful-kl-divergence BASE.gguf TEXT WINDOWS MODEL.gguf...

#include <llama.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kWindow = 256;
constexpr int kFirst = kWindow / 2;

[[noreturn]] void fail(const std::string& text) {
  std::fprintf(stderr, "brimful-kl-divergence: %s\n", text.c_str());
  std::exit(1);
}

class Model {
 public:
  explicit Model(const char* path) {
    model_.reset(llama_model_load_from_file(path, llama_model_default_params()));
    if (!model_) fail(std::string(path) + " cannot be loaded");
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = kWindow;
    params.n_threads = params.n_threads_batch = static_cast<int>(std::thread::hardware_concurrency());
    context_.reset(llama_init_from_model(model_.get(), params));
    if (!context_) fail(std::string(path) + " cannot be run");
  }
  const llama_vocab* vocab() const { return llama_model_get_vocab(model_.get()); }
  /// Log probabilities of the tokens after each position of the window's second half.
  void each(const std::vector<llama_token>& window, const std::function<void(std::vector<double>)>& take) {
    llama_memory_clear(llama_get_memory(context_.get()), true);
    llama_batch batch = llama_batch_init(kWindow, 0, 1);
    batch.n_tokens = kWindow;
    for (int i = 0; i < kWindow; ++i) {
      batch.token[i] = window[i];
      batch.pos[i] = i;
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = i >= kFirst && i + 1 < kWindow;
    }
    if (llama_decode(context_.get(), batch) != 0) fail("libllama could not compute");
    const int n = llama_vocab_n_tokens(vocab());
    for (int i = kFirst; i + 1 < kWindow; ++i) {
      const float* const logits = llama_get_logits_ith(context_.get(), i);
      double most = logits[0];
      for (int t = 1; t < n; ++t) most = std::fmax(most, logits[t]);
      double sum = 0;
      for (int t = 0; t < n; ++t) sum += std::exp(logits[t] - most);
      std::vector<double> out(n);
      for (int t = 0; t < n; ++t) out[t] = logits[t] - most - std::log(sum);
      take(std::move(out));
    }
    llama_batch_free(batch);
  }

 private:
  std::unique_ptr<llama_model, decltype(&llama_model_free)> model_{nullptr, llama_model_free};
  std::unique_ptr<llama_context, decltype(&llama_free)> context_{nullptr, llama_free};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) fail("usage: brimful-kl-divergence BASE.gguf TEXT WINDOWS MODEL.gguf...");
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  std::ifstream in(argv[2], std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  Model base(argv[1]);
  std::vector<llama_token> tokens(text.size() + 8);
  const int count = llama_tokenize(base.vocab(), text.data(), static_cast<int>(text.size()), tokens.data(),
                                   static_cast<int>(tokens.size()), true, false);
  const int windows = std::min(std::atoi(argv[3]), count / kWindow);
  if (windows < 1) fail(std::string(argv[2]) + " is shorter than a window");
  std::vector<std::unique_ptr<Model>> models;
  for (int i = 4; i < argc; ++i) models.push_back(std::make_unique<Model>(argv[i]));
  std::vector<double> sums(models.size());
  for (int w = 0; w < windows; ++w) {
    std::vector<llama_token> window(tokens.begin() + w * kWindow, tokens.begin() + (w + 1) * kWindow);
    if (llama_vocab_get_add_bos(base.vocab())) window[0] = llama_vocab_bos(base.vocab());
    std::vector<std::vector<double>> reference;
    base.each(window, [&](std::vector<double> p) { reference.push_back(std::move(p)); });
    for (std::size_t m = 0; m < models.size(); ++m) {
      std::size_t row = 0;
      models[m]->each(window, [&](const std::vector<double>& q) {
        const std::vector<double>& p = reference[row++];
        for (std::size_t t = 0; t < p.size(); ++t) sums[m] += std::exp(p[t]) * (p[t] - q[t]);
      });
    }
  }
  for (std::size_t m = 0; m < models.size(); ++m)
    std::printf("%s %.6f\n", argv[4 + m], sums[m] / (static_cast<double>(windows) * (kWindow - 1 - kFirst)));
  return 0;
}

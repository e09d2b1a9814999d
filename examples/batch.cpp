// Answers many prompts at once, in one context: continuous batching.
// Usage: batch MODEL.gguf RAM PROMPT...

#include <brimful/brimful.h>

#include <cstdio>
#include <string>
#include <vector>

namespace {

brimful::Status answer_all(const char* path, const char* ram, const std::vector<std::string>& prompts) {
  const auto budget = brimful::parse_bytes(ram);
  if (!budget) return std::unexpected(budget.error());
  const auto model = brimful::Model::open(path);
  if (!model) return std::unexpected(model.error());
  auto session = brimful::Session::start(*model, {.ram = *budget}, {.sequences = 4});
  if (!session) return std::unexpected(session.error());

  const brimful::SamplingOptions sampling{.numbers = {{"temperature", 0}}, .max_tokens = 16};
  std::size_t failed = 0;
  for (const std::string& prompt : prompts) {
    const auto told = [&prompt, &failed](brimful::Result<brimful::Completion> answer) {
      if (!answer) ++failed;
      std::printf("%s ->%s\n", prompt.c_str(), answer ? answer->text.c_str() : answer.error().message.c_str());
    };
    const auto id = session->submit({.text = prompt}, sampling, {.on_text = {}, .on_end = told});
    if (!id) return std::unexpected(id.error());
  }
  for (;;) {
    const auto more = session->step();
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
  }
  if (failed > 0) return brimful::fail(brimful::ErrorCode::kInternal, "some requests failed: see above");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: batch MODEL.gguf RAM PROMPT...\n");
    return 2;
  }
  const brimful::Status done = answer_all(argv[1], argv[2], std::vector<std::string>(argv + 3, argv + argc));
  if (!done) std::fprintf(stderr, "batch: %s\n", done.error().message.c_str());
  return done ? 0 : 1;
}

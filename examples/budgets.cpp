// Changes the budget of a session that runs: the tokens stay the same.
// Usage: budgets MODEL.gguf RAM OTHER_RAM

#include <brimful/brimful.h>

#include <cstdio>

namespace {

brimful::Status change(const char* path, const char* ram, const char* other) {
  const auto first = brimful::parse_bytes(ram);
  if (!first) return std::unexpected(first.error());
  const auto second = brimful::parse_bytes(other);
  if (!second) return std::unexpected(second.error());
  const auto model = brimful::Model::open(path);
  if (!model) return std::unexpected(model.error());
  auto session = brimful::Session::start(*model, {.ram = *first});
  if (!session) return std::unexpected(session.error());

  const brimful::Prompt prompt{.text = "Once upon a time"};
  const brimful::SamplingOptions sampling{.numbers = {{"temperature", 0}}, .max_tokens = 24};
  const auto before = session->generate(prompt, sampling);
  if (!before) return std::unexpected(before.error());
  if (const brimful::Status changed = session->change_budgets({.ram = *second}); !changed) return changed;
  const auto after = session->generate(prompt, sampling);
  if (!after) return std::unexpected(after.error());

  const bool same = before->tokens == after->tokens;
  std::printf("%s, then %s:%s\n", ram, other, same ? " the same tokens:" : " other tokens:");
  std::printf("%s\n", after->text.c_str());
  if (!same) return brimful::fail(brimful::ErrorCode::kInternal, "the tokens differ");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: budgets MODEL.gguf RAM OTHER_RAM\n");
    return 2;
  }
  const brimful::Status done = change(argv[1], argv[2], argv[3]);
  if (!done) std::fprintf(stderr, "budgets: %s\n", done.error().message.c_str());
  return done ? 0 : 1;
}

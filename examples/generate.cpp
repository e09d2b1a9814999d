// Completes a text inside a budget of main memory, and shows where the bytes are.
// Usage: generate MODEL.gguf RAM [TEXT]      (such as: generate model.gguf 8GiB "Once upon a time")

#include <brimful/brimful.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace {

brimful::Status generate(const char* path, const char* ram, const char* text) {
  const auto budget = brimful::parse_bytes(ram);
  if (!budget) return std::unexpected(budget.error());
  const auto model = brimful::Model::open(path);
  if (!model) return std::unexpected(model.error());
  auto session = brimful::Session::start(*model, {.ram = *budget});
  if (!session) return std::unexpected(session.error());

  const auto print = [](std::string_view piece) {
    return std::fwrite(piece.data(), 1, piece.size(), stdout) == piece.size();
  };
  const auto answer =
      session->generate({.text = text}, {.numbers = {{"temperature", 0}}, .max_tokens = 40}, print);
  if (!answer) return std::unexpected(answer.error());

  for (const brimful::TierAccount& tier : session->account().tiers) {
    std::fprintf(stderr, "\n%s: %s\n", tier.tier.c_str(), brimful::format_bytes(tier.budget).c_str());
    for (const auto& [tag, bytes] : tier.tags)
      std::fprintf(stderr, "  %-12s %s\n", tag.c_str(), brimful::format_bytes(bytes).c_str());
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: generate MODEL.gguf RAM [TEXT]\n");
    return 2;
  }
  const brimful::Status done = generate(argv[1], argv[2], argc > 3 ? argv[3] : "Once upon a time");
  if (!done) std::fprintf(stderr, "generate: %s\n", done.error().message.c_str());
  return done ? 0 : 1;
}

// A program of another author that keeps a budget exactly. The test runs it in a memory cgroup with that
// limit. Usage: library_budget MODEL.gguf RAM

#include <brimful/brimful.h>

#include <cstdio>
#include <string>

namespace {

using brimful::Bytes;

brimful::Status answer(brimful::Session& session, const brimful::SamplingOptions& sampling) {
  const auto done = session.generate({.text = "Once upon a time"}, sampling);
  if (!done) return std::unexpected(done.error());
  std::printf("%s\n", done->text.c_str());
  return {};
}

brimful::Status work(const char* path, const char* ram) {
  const auto budget = brimful::parse_bytes(ram);
  if (!budget) return std::unexpected(budget.error());
  const auto model = brimful::Model::open(path);
  if (!model) return std::unexpected(model.error());
  auto session = brimful::Session::start(*model, {.ram = *budget}, {.tokens = 512, .sequences = 2});
  if (!session) return std::unexpected(session.error());
  const brimful::SamplingOptions greedy{.numbers = {{"temperature", 0}}, .max_tokens = 24};
  if (const auto done = answer(*session, greedy); !done) return done;

  // A schema's grammar, with log probabilities: what takes the most memory beside the weights.
  brimful::SamplingOptions rich = greedy;
  rich.top_log_probabilities = 20;
  rich.json_schema = R"({"type":"object","properties":{"name":{"type":"string"}},"required":["name"]})";
  if (const auto done = answer(*session, rich); !done) return done;

  // A grammar without end costs its request, and no more.
  brimful::SamplingOptions hostile = greedy;
  hostile.grammar = "root ::= " + std::string(100'000, '(') + "\"a\"" + std::string(100'000, ')');
  if (session->generate({.text = "a"}, hostile)) std::printf("not so: a hostile grammar is refused\n");

  const Bytes less{budget->value / 10 * 9};
  if (const auto changed = session->change_budgets({.ram = less}); !changed) return changed;
  if (const auto done = answer(*session, greedy); !done) return done;
  if (const auto changed = session->change_budgets({.ram = *budget}); !changed) return changed;
  if (const auto done = answer(*session, greedy); !done) return done;
  const auto peak = session->account().peak;
  std::fprintf(stderr, "its own count: %s\n", peak ? brimful::format_bytes(*peak).c_str() : "none");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  brimful::adjust_process(brimful::all_process_settings());
  const brimful::Status done = work(argv[1], argv[2]);
  if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return done ? 0 : 1;
}

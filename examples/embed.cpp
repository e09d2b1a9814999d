// Says how alike texts are, by the vectors that a model makes of them.
// Usage: embed MODEL.gguf RAM TEXT OTHER_TEXT

#include <brimful/brimful.h>

#include <cmath>
#include <cstdio>

namespace {

double cosine(const std::vector<float>& one, const std::vector<float>& other) {
  double product = 0;
  double length = 0;
  double other_length = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    product += static_cast<double>(one[i]) * static_cast<double>(other[i]);
    length += static_cast<double>(one[i]) * static_cast<double>(one[i]);
    other_length += static_cast<double>(other[i]) * static_cast<double>(other[i]);
  }
  return product / std::sqrt(length * other_length);
}

brimful::Status compare(const char* path, const char* ram, const char* text, const char* other) {
  const auto budget = brimful::parse_bytes(ram);
  if (!budget) return std::unexpected(budget.error());
  const auto model = brimful::Model::open(path);
  if (!model) return std::unexpected(model.error());
  auto session = brimful::Session::start(*model, {.ram = *budget});
  if (!session) return std::unexpected(session.error());
  const auto one = session->embed(text);
  if (!one) return std::unexpected(one.error());
  const auto two = session->embed(other);
  if (!two) return std::unexpected(two.error());
  std::printf("%zu numbers, cosine %.4f\n", one->size(), cosine(*one, *two));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: embed MODEL.gguf RAM TEXT OTHER_TEXT\n");
    return 2;
  }
  const brimful::Status done = compare(argv[1], argv[2], argv[3], argv[4]);
  if (!done) std::fprintf(stderr, "embed: %s\n", done.error().message.c_str());
  return done ? 0 : 1;
}

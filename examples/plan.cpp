// Says what fits, without reading a weight.
// Usage: plan MODEL.gguf RAM

#include <brimful/brimful.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: plan MODEL.gguf RAM\n");
    return 2;
  }
  const auto budget = brimful::parse_bytes(argv[2]);
  if (!budget) {
    std::fprintf(stderr, "plan: %s\n", budget.error().message.c_str());
    return 2;
  }
  const auto model = brimful::Model::open(argv[1]);
  if (!model) {
    std::fprintf(stderr, "plan: %s\n", model.error().message.c_str());
    return 1;
  }
  const auto plan = model->plan({.ram = *budget});
  if (!plan && plan.error().code == brimful::ErrorCode::kInfeasible) {
    std::printf("does not fit: %s\n", plan.error().message.c_str());
    return 3;
  }
  if (!plan) {
    std::fprintf(stderr, "plan: %s\n", plan.error().message.c_str());
    return 1;
  }
  std::printf("%s: %u layers, %s of weights; %u tokens of context; %s are read for each pass\n",
              model->architecture().c_str(), model->layers(), brimful::format_bytes(plan->weights).c_str(),
              plan->context, brimful::format_bytes(plan->streamed_per_pass).c_str());
  return 0;
}

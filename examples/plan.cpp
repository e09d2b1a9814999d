// Says what fits and how fast it would be, without reading a weight.
// Usage: plan MODEL.gguf RAM [MACHINE]      (MACHINE: another machine than this one, by the names of its parts, such as
//                                            "64gb-ddr4-3600, nvme-gen3, 8c16t")

#include <brimful/brimful.h>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr, "usage: plan MODEL.gguf RAM [MACHINE]\n");
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
  brimful::ContextOptions context;
  if (argc == 4) {
    const auto machine = brimful::Machine::like(argv[3]);
    if (!machine) {
      std::fprintf(stderr, "plan: %s\n", machine.error().message.c_str());
      return 2;
    }
    context.machine = *machine;
  }
  const auto plan = model->plan({.ram = *budget}, context);
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
  if (plan->forecast) {
    const brimful::Forecast& forecast = *plan->forecast;
    std::printf("about %.1f tokens/s, bound by %s; prompts %.1f tokens/s\n", forecast.answer_tokens_per_second,
                std::string(to_string(forecast.pass.bound_by)).c_str(), forecast.prompt_tokens_per_second);
  } else {
    std::printf("how fast is not known: Machine::measure() and `brimful probe -m MODEL` measure this machine\n");
  }
  return 0;
}

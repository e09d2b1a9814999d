#include "kernels.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "choices.h"
#include "journal.h"
#include "memory.h"
#include "settings.h"
#include "tensors.h"
#include "vram.h"

namespace stand_in {
namespace {

/// How many bytes are assumed behind a pointer at which no tensor begins.
constexpr std::uint64_t kUnknownExtent = 4;
/// A struct of ggml's whose first members are pointers that are read.
constexpr std::string_view kFusion = "ggml_cuda_mm_fusion_args_device";
constexpr std::size_t kPointersOfFusion = 5;

enum class Parameter { value, reads, writes, fusion };

struct Kernel {
  const char* mangled = nullptr;
  std::string name;  // empty until it is first used
  std::vector<Parameter> parameters;
};

std::unordered_map<const void*, Kernel>& kernels() {
  static auto* const map = new std::unordered_map<const void*, Kernel>;
  return *map;
}

Parameter parameter_of(std::string_view type) {
  while (type.ends_with(" __restrict__") || type.ends_with(" __restrict"))
    type.remove_suffix(type.size() - type.rfind(" __restrict"));
  if (type.ends_with(kFusion)) return Parameter::fusion;
  if (!type.ends_with("*")) return Parameter::value;
  type.remove_suffix(1);
  return type.ends_with("const") ? Parameter::reads : Parameter::writes;
}

/// Takes `name<...>(types)` apart. Angles and parentheses in types are nested.
void describe(Kernel& kernel) {
  int status = 0;
  char* const text = abi::__cxa_demangle(kernel.mangled, nullptr, nullptr, &status);
  std::string_view full = status == 0 ? text : kernel.mangled;
  if (status == 0 && full.ends_with(")")) {
    std::size_t open = full.size();
    for (int depth = 0; open-- > 0;) {
      depth += full[open] == ')' ? 1 : full[open] == '(' ? -1 : 0;
      if (depth == 0) break;
    }
    int depth = 0;
    std::size_t begin = open + 1;
    for (std::size_t at = begin; at < full.size(); ++at) {
      const bool last = at + 1 == full.size();
      if (depth == 0 && (full[at] == ',' || last)) {
        std::string_view type = full.substr(begin, at - begin);
        while (type.starts_with(" ")) type.remove_prefix(1);
        if (!type.empty()) kernel.parameters.push_back(parameter_of(type));
        begin = at + 1;
      }
      depth += full[at] == '<' || full[at] == '(' ? 1 : full[at] == '>' || full[at] == ')' ? -1 : 0;
    }
    full = full.substr(0, open);
  }
  if (full.starts_with("void ")) full.remove_prefix(5);
  kernel.name = full;
  std::free(text);
}

const Kernel& known(const void* function) {
  Kernel& kernel = kernels()[function];
  if (kernel.mangled == nullptr) {
    broken("kernels", "a function is launched that no module has registered");
    kernel.mangled = "unknown";
  }
  if (kernel.name.empty()) describe(kernel);
  return kernel;
}

/// The matrices of which a product reads only those that were chosen.
struct Chosen {
  std::uint64_t begin;
  Extent extent;
};

}  // namespace

void register_kernel(const void* function, const char* mangled_name) {
  kernels()[function].mangled = mangled_name;
}

Work work_of(const Launch& launch) {
  const Kernel& kernel = known(launch.function);
  Work work{kernel.name, {}, {}, {}};
  const std::optional<Choices> choices = choices_of_node();
  std::vector<Chosen> chosen;
  const auto add = [&](std::uint64_t address, bool writes) {
    if (!is_card_memory(reinterpret_cast<const void*>(address))) return;  // null, or memory of the host
    const auto tensor = tensor_at(address);
    if (tensor && choices && !writes && tensor->matrices == choices->matrices && tensor->matrices > 1)
      chosen.push_back({address, *tensor});
    else
      work.uses.push_back({address, address + (tensor ? tensor->bytes : kUnknownExtent), writes});
  };
  for (std::size_t i = 0; i < kernel.parameters.size(); ++i) {
    if (kernel.parameters[i] == Parameter::value) continue;
    const std::size_t pointers = kernel.parameters[i] == Parameter::fusion ? kPointersOfFusion : 1;
    for (std::size_t j = 0; j < pointers; ++j) {
      std::uint64_t address = 0;
      std::memcpy(&address, static_cast<const char*>(launch.arguments[i]) + j * sizeof address,
                  sizeof address);
      add(address, kernel.parameters[i] == Parameter::writes);
    }
  }
  if (!chosen.empty())
    work.more_uses = [chosen, choices] {
      std::vector<Use> uses;
      for (const std::int32_t id : numbers_of(*choices)) {
        for (const auto& [begin, extent] : chosen) {
          const std::uint64_t matrix = begin + static_cast<std::uint64_t>(id) * extent.matrix_stride;
          uses.push_back({matrix, matrix + extent.matrix_stride, false});
        }
      }
      return uses;
    };
  std::function<void()> choose = choosing(kernel.name, launch);
  std::function<void()> check;
  if (choices_of_new_node()) check = [choices, name = kernel.name] { check_choices(*choices, name); };
  if (choose || check)
    work.act = [choose, check] {
      if (choose) choose();
      if (check) check();
    };
  return work;
}

bool load_kernel(int card, const void* function) {
  static auto* const loaded = new std::set<std::pair<int, const void*>>;
  if (!loaded->insert({card, function}).second) return true;
  return take(card, Kind::kernels, settings().kernel, "kernel " + known(function).name);
}

}  // namespace stand_in

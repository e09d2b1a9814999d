#include "engine/backends.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <ggml-backend.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "engine/llama_log.h"

namespace brimful::engine {
namespace {

namespace fs = std::filesystem;

bool is_plug_in(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.starts_with("libggml-") && name.ends_with(".so") && name != "libggml-base.so";
}

bool is_loaded(const fs::path& file) {
  void* const handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (handle != nullptr) ::dlclose(handle);
  return handle != nullptr;
}

/// ggml's reason, without its own name and the path of the file.
std::string reason_for(const fs::path& file) {
  std::string why = take_llama_error();
  const std::string path = file.string() + ": ";
  if (const std::size_t at = why.find(path); at != std::string::npos) why.erase(0, at + path.size());
  return why.empty() ? "it gives no reason" : why;
}

}  // namespace

std::string advice_on_backend(std::string_view why) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kMissing{{
      {"libcuda.so", "NVIDIA's driver is missing: install it"},
      {"libcudart.so", "CUDA's libraries are missing: install the version of CUDA that it was built with"},
      {"libcublas", "CUDA's libraries are missing: install the version of CUDA that it was built with"},
      {"libamdhip64.so", "AMD's ROCm is missing: install it"},
      {"libhipblas.so", "AMD's ROCm is missing: install it"},
      {"librocblas.so", "AMD's ROCm is missing: install it"},
      {"libvulkan.so", "Vulkan's loader is missing: install it"},
  }};
  for (const auto& [library, advice] : kMissing) {
    if (why.contains(library)) return fmt::format("{}, or remove this file", advice);
  }
  return "remove it, or check that the GPU's driver is installed";
}

fs::path backend_folder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path() / "back-ends";
}

std::vector<std::string> load_back_ends(const fs::path& folder) {
  capture_llama_logs();
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (is_plug_in(entry->path())) files.push_back(entry->path());
  }
  std::ranges::sort(files);
  std::vector<std::string> problems;
  for (const fs::path& file : files) {
    if (is_loaded(file)) continue;
    ggml_backend_reg_t const backend = ggml_backend_load(file.c_str());
    if (backend != nullptr && ggml_backend_reg_dev_count(backend) > 0) continue;
    const std::string why = reason_for(file);
    problems.push_back(fmt::format("{}: this backend {} ({}); {}", file.string(),
                                   backend != nullptr ? "finds no GPU here" : "cannot be used here", why,
                                   advice_on_backend(why)));
  }
  return problems;
}

}  // namespace brimful::engine

#include "engine/backends.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <ggml-backend.h>

#include <algorithm>
#include <cstdlib>

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

}  // namespace

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
    if (is_loaded(file) || ggml_backend_load(file.c_str()) != nullptr) continue;
    const std::string why = take_llama_error();
    problems.push_back(fmt::format(
        "{}: this backend cannot be used here ({}); remove it, or check that the GPU's driver is installed",
        file.string(), why.empty() ? "it gives no reason" : why));
  }
  return problems;
}

}  // namespace brimful::engine

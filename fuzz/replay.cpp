// Runs inputs through the fuzz target without libFuzzer. Usage: fuzz_gguf_replay FOLDER. Exit code 77: the
// folder is missing. A broken promise aborts the program after the name of the input was printed.

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int count, char** arguments) {
  if (count != 2) {
    fmt::print(stderr, "usage: fuzz_gguf_replay FOLDER\n");
    return 1;
  }
  if (!std::filesystem::is_directory(arguments[1])) {
    fmt::print("{} is not here: its files are not tested\n", arguments[1]);
    return 77;
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(arguments[1])) {
    fmt::print("{}\n", entry.path().string());
    std::fflush(stdout);
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++files;
  }
  fmt::print("{} inputs\n", files);
  return files > 0 ? 0 : 1;
}

#include "engine/saved_sequence.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "engine/llama_log.h"

namespace strata::engine {
namespace {

Error failed(const std::filesystem::path& path, std::string_view what) {
  const std::string why = take_llama_error();
  return Error{ErrorCode::kIo,
               fmt::format("{}: the text so far cannot be {} ({}); set TMPDIR to a folder with "
                           "more room",
                           path.string(), what, why.empty() ? std::string(std::strerror(errno)) : why)};
}

}  // namespace

Result<SavedSequence> SavedSequence::save(llama_context* context, llama_seq_id sequence) {
  std::error_code ec;
  std::filesystem::path folder = std::filesystem::temp_directory_path(ec);
  if (ec) {  // TMPDIR names none
    const char* const named = std::getenv("TMPDIR");
    folder = named != nullptr ? named : "/tmp";
  }
  std::string name = (folder / fmt::format("strata-{}-XXXXXX", ::getpid())).string();
  const int file = ::mkstemp(name.data());
  if (file < 0) return std::unexpected(failed(folder, "put aside here"));
  ::close(file);
  SavedSequence out{name};
  const std::size_t written = llama_state_seq_save_file(context, name.c_str(), sequence, nullptr, 0);
  // libllama does not look at what closing the file says.
  if (written > 0 && std::filesystem::file_size(name, ec) == written) return out;
  return std::unexpected(failed(folder, "put aside here"));
}

SavedSequence::~SavedSequence() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Status SavedSequence::restore(llama_context* context, llama_seq_id sequence) const {
  llama_token none = 0;
  std::size_t count = 0;
  if (llama_state_seq_load_file(context, path_.c_str(), sequence, &none, 0, &count) > 0) return {};
  return std::unexpected(failed(path_, "read back"));
}

}  // namespace strata::engine

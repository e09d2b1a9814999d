#pragma once

#include <filesystem>
#include <functional>
#include <ostream>

#include "base/result.h"

namespace brimful {

/// Who may read a file that is written.
enum class Readers {
  kAsUsual,  ///< As the process's umask says.
  kUser,     ///< Only this user: as make_private_folder() and make_private_file().
};

/// Replaces `file` in one step by what `write` writes: whoever reads it meanwhile finds the old content or
/// the new one, also where several processes replace it. Makes missing parent folders. Where it fails, the
/// old content stays. Errors: kIo; kNoSpace; with Readers::kUser also those of make_private_folder() and
/// make_private_file().
[[nodiscard]] Status replace_file(const std::filesystem::path& file,
                                  const std::function<void(std::ostream&)>& write,
                                  Readers readers = Readers::kAsUsual);

}  // namespace brimful

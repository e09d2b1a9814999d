#include "model/header_fingerprint.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "model/header_file.h"

namespace brimful::model {

Result<std::string> header_fingerprint(std::span<const ModelFile> files) {
  Hash64 hash;
  for (const ModelFile& file : files) {
    BRIMFUL_TRY(const HeaderFile header, read_header(file.path, Weights::kMayBeMissing));
    hash.add(std::string_view(reinterpret_cast<const char*>(header.bytes.data()), header.bytes.size()));
    hash.add('\n');
  }
  return fmt::format("{:016x}", hash.value());
}

}  // namespace brimful::model

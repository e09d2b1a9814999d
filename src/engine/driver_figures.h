#pragma once

#include <ggml-backend.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace brimful::engine {

/// Remembers, in a small file, how much memory drivers took on devices in earlier runs, beside ggml's
/// buffers. A start that knows this has to place the weights only once. A file that cannot be read or written
/// is ignored.
class DriverFigures {
 public:
  explicit DriverFigures(std::filesystem::path file);

  struct Figure {
    Bytes took;
    /// True: the figure is from a run with the same model, shape and budget. False: it is the last one of
    /// this device.
    bool same_use = true;
  };
  /// The figure for this device and `use` (model, shape and budget); nothing when neither that nor an earlier
  /// one of the device is known.
  [[nodiscard]] std::optional<Figure> find(ggml_backend_dev_t device, const std::string& use) const;
  /// Remembers a figure, and writes the file if something has changed. `of_this_use`: the part of `took` that
  /// another use of the device does not have.
  void keep(ggml_backend_dev_t device, const std::string& use, Bytes took, Bytes of_this_use = {});

 private:
  using Key =
      std::pair<std::string, std::string>;  // device and use; an empty use is the last one of the device

  void write() const;

  const std::filesystem::path file_;
  std::map<Key, Bytes> known_;
};

}  // namespace brimful::engine

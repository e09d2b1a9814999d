#pragma once

#include <ggml-backend.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace brimful::engine {

/// What drivers took of devices in earlier runs, beside ggml's buffers, kept in a small file: a start that
/// knows it places the weights once. A file that cannot be read or written is as good as none.
class DriverFigures {
 public:
  explicit DriverFigures(std::filesystem::path file);

  struct Figure {
    Bytes took;
    bool same_use = true;  ///< (model, shape, budget); else the device's last one
  };
  /// Nothing where neither is known.
  [[nodiscard]] std::optional<Figure> find(ggml_backend_dev_t device, const std::string& use) const;
  void keep(ggml_backend_dev_t device, const std::string& use, Bytes took);

 private:
  using Key = std::pair<std::string, std::string>;  // device, and use; empty: the last one

  void write() const;

  const std::filesystem::path file_;
  std::map<Key, Bytes> known_;
};

}  // namespace brimful::engine

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace brimful::hub {

/// Computes a SHA-256 or SHA-1 with OpenSSL's libcrypto, which is loaded when it is first needed. Not
/// thread-safe. Move-only.
class Hasher {
 public:
  enum class Kind { kSha256, kSha1 };

  /// Starts a hash. Errors: kUnsupported when libcrypto cannot be loaded.
  [[nodiscard]] static Result<Hasher> start(Kind kind = Kind::kSha256);

  /// Adds the next bytes.
  void add(std::span<const std::byte> bytes);
  /// The hash of all bytes so far, in lower-case hexadecimal digits. Further bytes may be added afterwards.
  [[nodiscard]] std::string hex() const;
  /// A hasher that continues from the same bytes.
  [[nodiscard]] Hasher copy() const;

 private:
  using Context = std::unique_ptr<void, void (*)(void*)>;
  explicit Hasher(Context context) : context_(std::move(context)) {}

  Context context_;
};

}  // namespace brimful::hub

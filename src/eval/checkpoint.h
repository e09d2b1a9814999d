#pragma once

#include <filesystem>
#include <functional>
#include <istream>
#include <optional>
#include <ostream>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>

#include "base/result.h"

namespace brimful::eval {

/// Writes the bytes of values, and reads them again on the same kind of machine.
template <std::ranges::contiguous_range Values>
requires std::is_trivially_copyable_v<std::ranges::range_value_t<Values>>
void put(std::ostream& out, const Values& values) {
  const auto bytes = std::as_bytes(std::span(values));
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}
template <std::ranges::contiguous_range Values>
requires std::is_trivially_copyable_v<std::ranges::range_value_t<Values>>
[[nodiscard]] bool take(std::istream& in, Values&& values) {
  const auto bytes = std::as_writable_bytes(std::span(values));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return static_cast<bool>(in);
}

/// A file with the state of a computation that goes over many passes. It is replaced in one step, so a
/// process that is killed leaves the old state or the new one. Only the computation that wrote it reads it:
/// another model, text or setting has another identity. Threading: none.
class Checkpoint {
 public:
  /// The file's folder must exist. `identity` names the computation. It holds for the life of this object
  /// that no other process has the same file. Errors: kIo, also when another process computes the same.
  [[nodiscard]] static Result<Checkpoint> open(std::filesystem::path file, std::string identity);
  Checkpoint(Checkpoint&& other) noexcept;
  Checkpoint& operator=(Checkpoint&&) = delete;
  ~Checkpoint();

  /// Whether there is a file that is no state at all.
  [[nodiscard]] bool is_no_checkpoint() const;
  /// Whether there is a file that another computation has written, or that is no state at all.
  [[nodiscard]] bool is_of_another() const;
  /// Gives `read` the state that was saved last. Returns whether there was one, and `read` accepted it.
  [[nodiscard]] bool load(const std::function<bool(std::istream&)>& read) const;
  /// Replaces the state by what `write` writes. Errors: kIo.
  [[nodiscard]] Status save(const std::function<void(std::ostream&)>& write) const;
  /// Removes the file: the computation is complete.
  void remove();

  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  Checkpoint(std::filesystem::path file, std::string identity, int lock)
      : file_(std::move(file)), identity_(std::move(identity)), lock_(lock) {}

  std::filesystem::path file_;
  std::string identity_;
  int lock_ = -1;
};

}  // namespace brimful::eval

#pragma once

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml.h>

#include <cstddef>
#include <mutex>
#include <unordered_set>
#include <vector>

namespace brimful::timed_card {

/// Which results a timed card really computes: those that are small. It has no time for large products,
/// because it would take it from the cores that it is compared with. Their results are *unknown*, as is
/// everything that is computed from them; an addition of something unknown leaves the other operand as it is.
/// In models of `brimful synth --text-period`, what large products give to the hidden states is exactly zero,
/// so that the choices of routers, and the tokens, are right. Threading: as ggml's devices; graphs of several
/// streams are computed one after the other.
class Results {
 public:
  /// The largest weight, in bytes, whose products are computed, and which the card really keeps.
  static constexpr std::size_t kLargest = (std::size_t{2} << 20) - 1;

  /// `everything`: whether large products are computed, too.
  explicit Results(bool everything);

  /// Computes what is small in the graph, in order.
  ggml_status compute(const ggml_cgraph& graph);

  /// Whether `piece` bytes that the host writes to this tensor can be needed.
  [[nodiscard]] bool keeps(const ggml_tensor& tensor, std::size_t piece) const;
  /// Must be called when the host has written to a tensor.
  void written(const ggml_tensor& tensor) { mark(tensor, false); }
  /// Must be called when `from` was copied to `to`.
  void copied(const ggml_tensor& from, const ggml_tensor& to);

 private:
  [[nodiscard]] static const void* begin_of(const ggml_tensor& tensor);
  [[nodiscard]] bool unknown(const ggml_tensor* tensor) const;
  void mark(const ggml_tensor& tensor, bool unknown);
  [[nodiscard]] bool becomes_unknown(const ggml_tensor& node) const;
  [[nodiscard]] const ggml_tensor* other_operand(const ggml_tensor& node) const;
  ggml_status run(std::vector<ggml_tensor*>& nodes);

  const bool everything_;
  const ggml_backend_ptr cpu_;
  const ggml_context_ptr context_;
  std::mutex computing_;
  mutable std::mutex mutex_;                 // guards `unknown_`
  std::unordered_set<const void*> unknown_;  // The addresses of results that were not computed.
};

}  // namespace brimful::timed_card

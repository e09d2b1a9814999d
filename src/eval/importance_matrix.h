#pragma once

#include <ggml.h>

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/options.h"
#include "model/model_profile.h"

namespace brimful::eval {

/// The sums of squares of what matrices are multiplied with (an importance matrix), collected while a model
/// computes, as llama-imatrix collects them: for each column of each matrix of a layer, and for each expert.
/// Threading: the thread that computes.
class ImportanceMatrix {
 public:
  /// `output`: also for the output matrix.
  explicit ImportanceMatrix(bool output) : with_output_(output) {}

  /// As llama-imatrix: products with fewer tokens are left out.
  static constexpr std::int64_t kFewestTokens = 16;

  /// Collects from every graph of a context with this observer. Lifetime: this outlives the context.
  [[nodiscard]] engine::NodeObserver observer();
  /// What went wrong since the last call: a value that is no number, or memory that has run out. The sums are
  /// of no use then.
  [[nodiscard]] std::optional<Error> take_error();

  /// Bytes that the sums of this model take, at most, with the files that they are
  /// written to, as far as these lie in the page cache. `tokens` is
  /// the number of tokens in a pass; `copies` says whether inputs lie on devices and are copied.
  [[nodiscard]] static Bytes memory(const model::ModelProfile& profile, std::uint32_t tokens, bool copies);

  /// Whether nothing was collected.
  /// Forgets what was collected.
  void clear() { sums_.clear(); }
  [[nodiscard]] bool empty() const { return sums_.empty(); }
  /// Number of matrices, and of those that have experts which no token has used.
  [[nodiscard]] std::size_t matrices() const { return sums_.size(); }
  [[nodiscard]] std::size_t incomplete() const;

  /// Writes llama-imatrix's GGUF file in one step. `text` is the name of the text's file, `chunk_tokens` the
  /// size of a chunk. Errors: kIo, kNoSpace; the file that there was stays then.
  [[nodiscard]] Status write(const std::filesystem::path& file, const std::string& text,
                             std::uint32_t chunk_tokens) const;

  /// Writes the sums, and reads what save() wrote. load() returns false where that is damaged.
  void save(std::ostream& out) const;
  [[nodiscard]] bool load(std::istream& in);

 private:
  struct Sums {
    std::vector<float> squares;        // [matrices x columns]
    std::vector<std::int64_t> counts;  // of tokens: one for each expert, or one for all
  };
  static bool look(ggml_tensor* node, bool ask, void* self) noexcept;
  [[nodiscard]] bool wants(const ggml_tensor& node) const;
  [[nodiscard]] Status collect(const ggml_tensor& node);
  [[nodiscard]] Status collect_experts(const ggml_tensor& node, const char* inputs);
  [[nodiscard]] Status collect_dense(const ggml_tensor& node, const char* inputs);
  [[nodiscard]] Result<Sums*> sums_of(const ggml_tensor& weight, std::int64_t matrices, std::size_t counts);

  const bool with_output_;
  std::map<std::string, Sums> sums_;  // by name: files have this order
  std::vector<char> copied_;          // inputs that lie on a device
  std::vector<char> ids_;
  std::optional<Error> error_;
};

}  // namespace brimful::eval

#include "quantise/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/hash.h"
#include "base/visible_text.h"
#include "memory/region.h"
#include "model/file_fingerprint.h"
#include "quantise/part_file.h"
#include "quantise/progress_state.h"
#include "quantise/rows.h"
#include "quantise/source.h"

namespace brimful::quantise {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Memory for what is not counted piece by piece: small allocations, stacks.
constexpr Bytes kReserve{4 * 1024 * 1024};
constexpr Bytes kReserveOfThread{256 * 1024};
/// More rows at once would not be faster.
constexpr Bytes kEnoughForRows{64 * 1024 * 1024};
constexpr std::chrono::milliseconds kSavePeriod{250};

/// The memory that one row of a tensor takes while it is converted.
struct RowMemory {
  std::uint64_t source = 0;
  std::uint64_t floats = 0;
  std::uint64_t result = 0;
  [[nodiscard]] std::uint64_t total() const { return source + floats + result; }
};

RowMemory row_memory(const model::TensorInfo& source, ggml_type type) {
  const auto width = static_cast<std::uint64_t>(source.shape[0]);
  if (source.type == type) return {.source = source.row_bytes().value};
  return {.source = source.row_bytes().value,
          .floats = width * sizeof(float),
          .result = ggml_row_size(type, source.shape[0])};
}

Bytes fixed_memory(unsigned threads) {
  return kReserve + Bytes{kReserveOfThread.value * threads} + Source::kMemory + Bytes{PartFile::kBuffer};
}

std::uint64_t largest_row(const model::ModelProfile& profile, const Recipe& recipe) {
  std::uint64_t largest = 0;
  for (const OutputFile& file : recipe.files) {
    for (const OutputTensor& tensor : file.tensors)
      largest = std::max(largest, row_memory(profile.tensors[tensor.source], tensor.type).total());
  }
  return largest;
}

/// Tells one work from another: the source's content, the output's headers and the importance matrix.
Result<std::uint64_t> job_of(const model::ModelProfile& profile, const Recipe& recipe,
                             const Importance* importance) {
  BRIMFUL_TRY(const std::string source, model::model_fingerprint(profile.files));
  Hash64 hash;
  hash.add(source);
  for (const OutputFile& file : recipe.files)
    hash.add({reinterpret_cast<const char*>(file.header.data()), file.header.size()});
  if (importance != nullptr) add_columns(hash, *importance);
  return hash.value();
}

class Writer {
 public:
  Writer(const model::ModelProfile& profile, const Recipe& recipe, const Importance* importance,
         const WriteOptions& options, Source source, memory::Region rows, std::uint64_t job)
      : profile_(profile),
        recipe_(recipe),
        importance_(importance),
        options_(options),
        source_(std::move(source)),
        rows_(std::move(rows)),
        job_(job) {}

  Result<Written> run() {
    const std::size_t count = recipe_.files.size();
    Progress progress = read_progress(options_.path, job_);
    if (!makes_sense(progress)) progress = {};
    // The state of another work would later be taken for the state of these files.
    if (progress.file == 0 && progress.tensors == 0) BRIMFUL_TRY_VOID(forget_progress(options_.path));
    Written written{.files = {}, .bytes = Bytes{recipe_.size()}, .resumed = {}};
    for (std::size_t i = 0; i < std::min(progress.file, count); ++i) done_ += recipe_.files[i].size;
    if (progress.file < count) done_ += start_of(recipe_.files[progress.file], progress.tensors);
    written.resumed = Bytes{done_};
    for (; progress.file < count; progress = {.file = progress.file + 1, .tensors = 0}) {
      BRIMFUL_TRY_VOID(write_file(progress));
      BRIMFUL_TRY_VOID(save_progress(options_.path, job_, {.file = progress.file + 1, .tensors = 0}));
    }
    BRIMFUL_TRY_VOID(source_.check_unchanged());
    for (std::size_t i = 0; i < count; ++i) {
      written.files.push_back(output_path(options_.path, i, count));
      std::error_code error;
      const fs::path part = PartFile::part_of(written.files.back());
      // A run that was ended here had renamed the first files already.
      if (!fs::exists(part, error)) continue;
      fs::rename(part, written.files.back(), error);
      if (error)
        return fail(ErrorCode::kIo,
                    fmt::format("{} cannot be written: {}", written.files.back().string(), error.message()));
    }
    BRIMFUL_TRY_VOID(forget_progress(options_.path));
    return written;
  }

 private:
  static std::uint64_t start_of(const OutputFile& file, std::size_t tensors) {
    if (tensors == 0) return 0;  // the header is not counted as a tensor: it is written again
    return tensors < file.tensors.size() ? file.tensors[tensors].offset : file.size;
  }

  /// Whether the unfinished files are as the progress says.
  [[nodiscard]] bool makes_sense(const Progress& progress) const {
    const std::size_t count = recipe_.files.size();
    if (progress.file > count) return false;
    for (std::size_t i = 0; i <= progress.file && i < count; ++i) {
      const OutputFile& file = recipe_.files[i];
      if (i == progress.file && progress.tensors > file.tensors.size()) return false;
      const std::uint64_t expected = i < progress.file ? file.size : start_of(file, progress.tensors);
      std::error_code error;
      const fs::path path = output_path(options_.path, i, count);
      std::uint64_t size = fs::file_size(PartFile::part_of(path), error);
      // All files were whole, and some have their names already.
      if (error && progress.file == count) size = fs::file_size(path, error);
      if (error ? expected > 0 : size < expected) return false;
    }
    return true;
  }

  Status write_file(const Progress& begin) {
    const OutputFile& file = recipe_.files[begin.file];
    const fs::path path = output_path(options_.path, begin.file, recipe_.files.size());
    BRIMFUL_TRY(PartFile part, PartFile::open(path, start_of(file, begin.tensors), Bytes{file.size}));
    const Status written = write_to(part, file, begin);
    std::error_code error;
    // What no later run can go on with is not left behind.
    if (!written && !fs::exists(state_path(options_.path), error)) fs::remove(PartFile::part_of(path), error);
    return written;
  }

  Status write_to(PartFile& part, const OutputFile& file, const Progress& begin) {
    if (begin.tensors == 0) BRIMFUL_TRY_VOID(append(part, file.header));
    std::size_t saved = begin.tensors;
    Clock::time_point last = Clock::now();
    for (std::size_t i = begin.tensors; i < file.tensors.size(); ++i) {
      BRIMFUL_TRY_VOID(write_tensor(part, file.tensors[i]));
      const std::uint64_t end = start_of(file, i + 1);
      const std::uint64_t padding = end - file.tensors[i].offset - file.tensors[i].bytes;
      BRIMFUL_TRY_VOID(part.append_zeros(padding));
      done_ += padding;
      if (Clock::now() - last < kSavePeriod) continue;
      std::size_t safe = saved;
      while (safe <= i && start_of(file, safe + 1) <= part.written()) ++safe;
      last = Clock::now();
      if (safe == saved) continue;
      BRIMFUL_TRY_VOID(part.sync());
      BRIMFUL_TRY_VOID(save_progress(options_.path, job_, {.file = begin.file, .tensors = safe}));
      saved = safe;
    }
    return part.finish();
  }

  Status write_tensor(PartFile& part, const OutputTensor& tensor) {
    const model::TensorInfo& source = profile_.tensors[tensor.source];
    const RowMemory memory = row_memory(source, tensor.type);
    const auto fit = static_cast<std::int64_t>((rows_.size().value - 3 * kAlign) / memory.total());
    Rows rows{.first = 0,
              .count = std::min(fit, source.rows()),
              .width = source.shape[0],
              .per_expert = source.shape[1]};
    std::byte* const from = rows_.data();
    std::byte* const floats = from + align_up(memory.source * static_cast<std::uint64_t>(rows.count), kAlign);
    std::byte* const result =
        floats + align_up(memory.floats * static_cast<std::uint64_t>(rows.count), kAlign);
    const float* const importance = importance_of(source);
    for (; rows.first < source.rows(); rows.first += rows.count) {
      rows.count = std::min(rows.count, source.rows() - rows.first);
      const auto n = static_cast<std::uint64_t>(rows.count);
      const auto first = static_cast<std::uint64_t>(rows.first);
      BRIMFUL_TRY_VOID(source_.read(source, first * memory.source, Bytes{n * memory.source}, from));
      if (source.type == tensor.type) {
        BRIMFUL_TRY_VOID(check_rows(source.name, source.type, from, rows));
        BRIMFUL_TRY_VOID(append(part, {from, n * memory.source}));
        continue;
      }
      auto* const values = reinterpret_cast<float*>(floats);
      BRIMFUL_TRY_VOID(to_floats(source.name, source.type, from, rows, values, options_.threads));
      BRIMFUL_TRY_VOID(
          quantise_rows(source.name, tensor.type, values, rows, importance, result, options_.threads));
      BRIMFUL_TRY_VOID(append(part, {result, n * memory.result}));
    }
    return {};
  }

  [[nodiscard]] const float* importance_of(const model::TensorInfo& tensor) const {
    if (importance_ == nullptr) return nullptr;
    const auto found = importance_->columns.find(tensor.name);
    return found == importance_->columns.end() ? nullptr : found->second.data();
  }

  Status append(PartFile& part, std::span<const std::byte> bytes) {
    BRIMFUL_TRY_VOID(part.append(bytes));
    done_ += bytes.size();
    if (options_.progress) options_.progress(Bytes{done_});
    return {};
  }

  static constexpr std::uint64_t kAlign = 64;

  const model::ModelProfile& profile_;
  const Recipe& recipe_;
  const Importance* const importance_;
  const WriteOptions& options_;
  Source source_;
  memory::Region rows_;
  const std::uint64_t job_;
  std::uint64_t done_ = 0;
};

}  // namespace

fs::path output_path(const fs::path& path, std::size_t which, std::size_t count) {
  if (count == 1) return path;
  return fmt::format("{}-{:05}-of-{:05}.gguf", path.string(), which + 1, count);
}

Bytes smallest_room(const model::ModelProfile& profile, const Recipe& recipe, unsigned threads) {
  return fixed_memory(threads) + Bytes{align_up(largest_row(profile, recipe), std::uint64_t{4096}) + 4096};
}

Result<Written> write_model(const model::ModelProfile& profile, const Recipe& recipe,
                            const Importance* importance, const WriteOptions& options) {
  const Bytes smallest = smallest_room(profile, recipe, options.threads);
  if (options.room < smallest)
    return fail(
        ErrorCode::kInfeasible,
        fmt::format("{} leaves {} for the work, and one row of the largest tensor needs {}: give {} more",
                    options.ram_name, format_bytes(options.room), format_bytes(smallest),
                    format_bytes(smallest - options.room)));
  const Bytes rows = std::min(options.room - fixed_memory(options.threads),
                              kEnoughForRows + Bytes{largest_row(profile, recipe)});
  BRIMFUL_TRY(const std::uint64_t job, job_of(profile, recipe, importance));
  BRIMFUL_TRY(Source source, Source::open(profile));
  BRIMFUL_TRY(memory::Region memory, memory::Region::reserve(align_down(rows, Bytes{4096})));
  BRIMFUL_TRY_VOID(memory.commit());
  return Writer(profile, recipe, importance, options, std::move(source), std::move(memory), job).run();
}

}  // namespace brimful::quantise

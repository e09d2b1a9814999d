#include "model/split_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <ggml-cpp.h>
#include <gguf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <ostream>
#include <system_error>
#include <utility>

#include "base/replace_file.h"
#include "model/header_file.h"
#include "model/split_names.h"

namespace brimful::model {
namespace {

namespace fs = std::filesystem;

// llama-gguf-split pads tensors to this, whatever the file's own alignment is.
constexpr std::uint64_t kAlignment = GGUF_DEFAULT_ALIGNMENT;
constexpr std::uint64_t kMostParts = 65535;  // a 16-bit key holds their number
constexpr std::size_t kBuffer = 4ULL << 20;
constexpr const char* kNumber = "split.no";
constexpr const char* kCount = "split.count";
constexpr const char* kTensors = "split.tensors.count";
constexpr const char* kAlignmentKey = "general.alignment";

/// A file whose header our own reader has checked, in the form of ggml's functions for writing headers.
struct Source {
  HeaderFile checked;
  gguf_context_ptr keys;
  ggml_context_ptr tensors;

  [[nodiscard]] std::int64_t count() const { return gguf_get_n_tensors(keys.get()); }
  [[nodiscard]] const ggml_tensor* tensor(std::int64_t nth) const {
    return ggml_get_tensor(tensors.get(), gguf_get_tensor_name(keys.get(), nth));
  }
  [[nodiscard]] std::uint64_t offset(std::int64_t nth) const {
    return gguf_get_data_offset(keys.get()) + gguf_get_tensor_offset(keys.get(), nth);
  }
  [[nodiscard]] std::optional<std::uint64_t> number(const char* key) const {
    const std::int64_t id = gguf_find_key(keys.get(), key);
    if (id < 0) return std::nullopt;
    switch (gguf_get_kv_type(keys.get(), id)) {
      case GGUF_TYPE_UINT16: return gguf_get_val_u16(keys.get(), id);
      case GGUF_TYPE_INT32: return static_cast<std::uint64_t>(std::max(0, gguf_get_val_i32(keys.get(), id)));
      case GGUF_TYPE_UINT32: return gguf_get_val_u32(keys.get(), id);
      default: return std::nullopt;
    }
  }
};

Result<Source> open(const fs::path& file) {
  Source out;
  BRIMFUL_TRY(out.checked, read_header(file));
  ggml_context* tensors = nullptr;
  out.keys.reset(gguf_init_from_file(file.c_str(), {.no_alloc = true, .ctx = &tensors}));
  out.tensors.reset(tensors);
  if (out.keys == nullptr)
    return fail(ErrorCode::kCorrupt, fmt::format("{}: ggml cannot read its header", file.string()));
  out.checked.bytes = {};
  return out;
}

std::uint64_t padded(const ggml_tensor* tensor) { return align_up(ggml_nbytes(tensor), kAlignment); }

/// A file to write: its header, and where the bytes of each of its tensors are.
struct Target {
  struct Piece {
    const Source* source;
    std::int64_t tensor;
  };
  gguf_context_ptr keys{gguf_init_empty()};
  std::vector<Piece> pieces;

  void add(const Source& source, std::int64_t nth) {
    gguf_add_tensor(keys.get(), source.tensor(nth));
    pieces.push_back({&source, nth});
  }
  void copy_keys(const Source& source) {
    gguf_set_kv(keys.get(), source.keys.get());
    if (gguf_find_key(keys.get(), kAlignmentKey) >= 0 && gguf_get_alignment(source.keys.get()) != kAlignment)
      gguf_set_val_u32(keys.get(), kAlignmentKey, static_cast<std::uint32_t>(kAlignment));
  }
  [[nodiscard]] Bytes bytes() const {
    std::uint64_t sum = gguf_get_meta_size(keys.get());
    for (const Piece& piece : pieces) sum += padded(piece.source->tensor(piece.tensor));
    return Bytes{sum};
  }
};

/// Copies weights, and tells of it. What it has read leaves the page cache.
class Copier {
 public:
  Copier(Bytes total, const CopyProgress& progress) : total_(total), progress_(progress), buffer_(kBuffer) {}

  Status write(const Target& target, const fs::path& file) {
    std::optional<Error> error;
    const Status written = replace_file(fs::absolute(file), [&](std::ostream& out) {
      std::vector<char> header(gguf_get_meta_size(target.keys.get()));
      gguf_get_meta_data(target.keys.get(), header.data());
      out.write(header.data(), static_cast<std::streamsize>(header.size()));
      for (const Target::Piece& piece : target.pieces) {
        if (!out) return;
        Status copied = copy(*piece.source, piece.tensor, out);
        if (copied) continue;
        error = std::move(copied).error();
        out.setstate(std::ios::failbit);  // the file does not get its name
        return;
      }
    });
    if (error) return std::unexpected(std::move(*error));
    return written;
  }

 private:
  Status copy(const Source& source, std::int64_t nth, std::ostream& out) {
    const fs::path& path = source.checked.file.path;
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0)
      return fail(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", path.string(), std::strerror(errno)));
    const Status status = copy_from(file, path, source.offset(nth), ggml_nbytes(source.tensor(nth)), out);
    ::close(file);
    const std::uint64_t padding = padded(source.tensor(nth)) - ggml_nbytes(source.tensor(nth));
    if (status) out.write(std::string(padding, '\0').data(), static_cast<std::streamsize>(padding));
    return status;
  }

  Status copy_from(int file, const fs::path& path, std::uint64_t at, std::uint64_t size, std::ostream& out) {
    while (size > 0 && out) {
      const ssize_t got = ::pread(file, buffer_.data(), std::min<std::uint64_t>(size, buffer_.size()),
                                  static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0)
        return fail(ErrorCode::kIo, fmt::format("{}: cannot be read: {}", path.string(),
                                                got == 0 ? "it became shorter" : std::strerror(errno)));
      out.write(buffer_.data(), got);
      ::posix_fadvise(file, static_cast<off_t>(at), got, POSIX_FADV_DONTNEED);
      at += static_cast<std::uint64_t>(got);
      size -= static_cast<std::uint64_t>(got);
      done_ += Bytes{static_cast<std::uint64_t>(got)};
      if (progress_ && !progress_(std::min(done_, total_), total_))
        return fail(ErrorCode::kCancelled, "interrupted: nothing was kept");
    }
    return {};
  }

  const Bytes total_;
  const CopyProgress& progress_;
  std::vector<char> buffer_;
  Bytes done_;
};

Status check_new(const fs::path& file, std::span<const Source> sources, bool force) {
  std::error_code error;
  for (const Source& source : sources) {
    if (fs::equivalent(file, source.checked.file.path, error))
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: is the source: name another file", file.string()));
  }
  if (force || !fs::exists(file, error)) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: exists already: name another file, or allow to replace it", file.string()));
}

Status check_room(const fs::path& file, Bytes bytes) {
  std::error_code error;
  const fs::path folder = fs::absolute(file).parent_path();
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= bytes.value) return {};
  return fail(ErrorCode::kNoSpace,
              fmt::format("{}: {} are to be written, and the disk has {} left", folder.string(),
                          format_bytes(bytes), format_bytes(Bytes{space.available})));
}

/// Decides which tensors each part has.
Result<std::vector<Target>> cut(const Source& source, const SplitLimits& limits) {
  std::vector<Target> parts(1);
  parts[0].copy_keys(source);
  const std::int64_t count = source.count();
  if (limits.no_tensors_in_first) parts.emplace_back();
  std::uint64_t bytes = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t size = padded(source.tensor(i));
    const bool full = limits.bytes ? bytes + size > limits.bytes->value : i > 0 && i % *limits.tensors == 0;
    if (full && limits.bytes && parts.back().pieces.empty())
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: {} alone has {}, more than a part may have: use a larger limit",
                              source.checked.file.path.string(), gguf_get_tensor_name(source.keys.get(), i),
                              format_bytes(Bytes{size})));
    if (full) parts.emplace_back();
    bytes = full ? size : bytes + size;
    parts.back().add(source, i);
  }
  if (parts.size() > kMostParts)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} parts are more than {}: use a larger limit", parts.size(), kMostParts));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    gguf_context* const keys = parts[i].keys.get();
    gguf_set_val_u16(keys, kNumber, static_cast<std::uint16_t>(i));
    gguf_set_val_u16(keys, kCount, 0);
    gguf_set_val_i32(keys, kTensors, static_cast<std::int32_t>(count));
    // llama-gguf-split sets the number of parts last, which decides where the key stands.
    gguf_set_val_u16(keys, kCount, static_cast<std::uint16_t>(parts.size()));
  }
  return parts;
}

Result<std::vector<Source>> open_parts(const fs::path& first_part) {
  std::vector<Source> out;
  BRIMFUL_TRY(Source first, open(first_part));
  const auto name = parse_split_name(first_part);
  const std::uint64_t parts = first.number(kCount).value_or(0);
  if (parts == 0)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: it is no part of a split file", first_part.string()));
  if (!name || name->part != 1 || name->parts != parts)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "{}: give the first part, with the name that it was written with: NAME-00001-of-{:05}.gguf",
            first_part.string(), parts));
  const auto tensors = first.number(kTensors);
  out.push_back(std::move(first));
  std::uint64_t found = static_cast<std::uint64_t>(out.front().count());
  for (std::uint32_t part = 2; part <= parts; ++part) {
    const fs::path path = name->path_of(part);
    std::error_code error;
    if (!fs::exists(path, error))
      return fail(ErrorCode::kNotFound,
                  fmt::format("{}: this part is missing: all {} are needed", path.string(), parts));
    BRIMFUL_TRY(Source next, open(path));
    if (next.number(kCount) != parts || next.number(kNumber) != part - 1)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}: it is not part {} of {}: the parts do not belong together", path.string(),
                              part, parts));
    found += static_cast<std::uint64_t>(next.count());
    out.push_back(std::move(next));
  }
  if (tensors && *tensors != found)
    return fail(ErrorCode::kCorrupt, fmt::format("{}: the parts have {} tensors, and should have {}",
                                                 first_part.string(), found, *tensors));
  return out;
}

}  // namespace

Result<std::vector<SplitPart>> split_file(const fs::path& file, const fs::path& prefix,
                                          const SplitLimits& limits, bool write, bool force,
                                          const CopyProgress& progress) {
  BRIMFUL_TRY(const Source source, open(file));
  if (source.number(kCount).value_or(0) > 1)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: it is a part of a split file: merge the parts first", file.string()));
  BRIMFUL_TRY(const std::vector<Target> targets, cut(source, limits));
  std::vector<SplitPart> parts;
  Bytes total;
  for (const Target& target : targets) {
    const SplitName name{prefix, static_cast<std::uint32_t>(parts.size() + 1),
                         static_cast<std::uint32_t>(targets.size())};
    parts.push_back({name.path_of(name.part), target.pieces.size(), target.bytes()});
    total += parts.back().bytes;
  }
  if (!write) return parts;
  for (const SplitPart& part : parts) BRIMFUL_TRY_VOID(check_new(part.path, std::span(&source, 1), force));
  BRIMFUL_TRY_VOID(check_room(prefix, total));
  Copier copier(total, progress);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Status written = copier.write(targets[i], parts[i].path);
    if (written) continue;
    std::error_code ignored;
    for (std::size_t done = 0; done < i; ++done) fs::remove(parts[done].path, ignored);
    return std::unexpected(written.error());
  }
  return parts;
}

Result<std::size_t> merge_files(const fs::path& first_part, const fs::path& file, bool force,
                                const CopyProgress& progress) {
  BRIMFUL_TRY(const std::vector<Source> sources, open_parts(first_part));
  BRIMFUL_TRY_VOID(check_new(file, sources, force));
  // As llama-gguf-split: a count of 0 says that the result is no part any more.
  gguf_set_val_u16(sources.front().keys.get(), kCount, 0);
  Target target;
  target.copy_keys(sources.front());
  for (const Source& source : sources) {
    for (std::int64_t i = 0; i < source.count(); ++i) {
      const char* const name = gguf_get_tensor_name(source.keys.get(), i);
      if (gguf_find_tensor(target.keys.get(), name) >= 0)
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: tensor {} is in two parts", source.checked.file.path.string(), name));
      target.add(source, i);
    }
  }
  BRIMFUL_TRY_VOID(check_room(file, target.bytes()));
  BRIMFUL_TRY_VOID(Copier(target.bytes(), progress).write(target, file));
  return sources.size();
}

}  // namespace brimful::model

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "model/adapter.h"
#include "model/gguf_reader.h"
#include "model/header_file.h"

namespace brimful::model {
namespace {

/// Returns N of a name `direction.N`, or nullopt for another name.
std::optional<std::uint32_t> layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "direction.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::uint32_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return layer;
}

Status read_at(int fd, std::uint64_t offset, std::span<float> out) {
  auto* to = reinterpret_cast<char*>(out.data());
  std::size_t left = out.size_bytes();
  while (left > 0) {
    const ssize_t got = ::pread(fd, to, left, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return fail(ErrorCode::kIo, got == 0 ? "became shorter while it was read"
                                           : fmt::format("cannot be read: {}", std::strerror(errno)));
    }
    to += got;
    offset += static_cast<std::uint64_t>(got);
    left -= static_cast<std::size_t>(got);
  }
  return {};
}

/// Checks the tensors of the file, and reads each direction to its layer's place in `out`.
Status read_directions(const HeaderFile& file, const ModelProfile& model, int fd, std::vector<float>& out) {
  for (const GgufTensor& tensor : file.header.tensors) {
    const auto layer = layer_of(tensor.name);
    const bool vector = tensor.shape[1] == 1 && tensor.shape[2] == 1 && tensor.shape[3] == 1;
    if (!layer || tensor.type != GGML_TYPE_F32 || !vector) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("is not a control vector: tensor {} is not an F32 vector called 'direction.N'",
                              in_quotes(tensor.name)));
    }
    if (tensor.shape[0] != model.embedding || *layer == 0 || *layer >= model.layers) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tensor {} has {} numbers; {} takes {} for each of layers 1 to {}",
                              in_quotes(tensor.name), tensor.shape[0], in_quotes(model.name), model.embedding,
                              model.layers - 1));
    }
    const std::span all(out);
    BRIMFUL_TRY_VOID(read_at(fd, tensor.offset,
                             all.subspan((*layer - 1) * std::size_t{model.embedding}, model.embedding)));
  }
  if (file.header.tensors.empty())
    return fail(ErrorCode::kInvalidArgument, "is not a control vector: it is empty");
  return {};
}

}  // namespace

Result<std::vector<float>> read_control_vector(const std::filesystem::path& path, const ModelProfile& model) {
  BRIMFUL_TRY(const HeaderFile file, read_header(path));
  std::vector<float> out(std::size_t{model.embedding} * std::max(model.layers, 1U), 0.0F);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(ErrorCode::kIo, fmt::format("{}: cannot be opened", path.string()));
  Status read = read_directions(file, model, fd, out);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
  if (!read) {
    return fail(read.error().code, fmt::format("{}: {}", path.string(), read.error().message));
  }
  return out;
}

}  // namespace brimful::model

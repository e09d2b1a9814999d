// The CUDA runtime: copies. They are real. What is copied from pinned memory must not change before the copy
// is known to have ended, and what is copied to pinned memory is not there before that: until then, its bytes
// are 0xA5.
#include <algorithm>
#include <cstring>

#include "memory.h"
#include "runtime.h"

namespace stand_in {
namespace {

constexpr std::size_t kStaged = 65536;  // the driver keeps a copy of so few bytes of pageable memory
constexpr int kNotYet = 0xA5;

std::uint64_t number(const void* address) { return reinterpret_cast<std::uint64_t>(address); }

/// A number that says whether the bytes have changed, from some of them.
std::uint64_t mark_of(const char* bytes, std::size_t size) {
  std::uint64_t mark = 1469598103934665603ULL;
  const std::size_t step = std::max<std::size_t>(size / 64, 1);
  for (std::size_t at = 0; at < size; at += step)
    mark = (mark ^ static_cast<unsigned char>(bytes[at])) * 1099511628211ULL;
  return mark;
}

struct Shape {
  std::size_t width, height, to_stride, from_stride;
};

void copy_to_card(Stream& queue, void* to, const void* from, const Shape& shape, bool waits) {
  const std::size_t size = (shape.height - 1) * shape.from_stride + shape.width;
  const bool from_pinned = pinned(from, size) != Pinned::no;
  ++(from_pinned ? totals().pinned_copies : totals().pageable_copies);
  if (!from_pinned && size > kStaged && !queue.blocking) ++totals().blocking_copies;
  totals().to_card += shape.width * shape.height;
  Work work{"a copy to the card", {}, {}, {}};
  for (std::size_t row = 0; row < shape.height; ++row) {
    const std::uint64_t begin = number(to) + row * shape.to_stride;
    work.uses.push_back({begin, begin + shape.width, true});
  }
  work.act = [to, from, shape] {
    for (std::size_t row = 0; row < shape.height; ++row)
      write_card(number(to) + row * shape.to_stride, static_cast<const char*>(from) + row * shape.from_stride,
                 shape.width);
  };
  const bool recorded = queue.records != nullptr;
  run(queue, std::move(work));
  if (recorded || !from_pinned || waits) return;
  const auto* const bytes = static_cast<const char*>(from);
  when_ended(queue, [bytes, size, mark = mark_of(bytes, size)] {
    if (pinned(bytes, size) == Pinned::no)
      broken("sources", "pinned memory was given back before the end of a copy from it");
    else if (mark_of(bytes, size) != mark)
      broken("sources", "the source of a copy to the card has changed before the copy had ended");
  });
}

void copy_to_host(Stream& queue, void* to, const void* from, const Shape& shape) {
  const std::size_t size = (shape.height - 1) * shape.to_stride + shape.width;
  const Pinned kind = pinned(to, size);
  if (kind == Pinned::to_read) broken("pins", "a copy writes to memory that is pinned for reading only");
  totals().from_card += shape.width * shape.height;
  Work work{"a copy to the host", {}, {}, {}};
  for (std::size_t row = 0; row < shape.height; ++row) {
    const std::uint64_t begin = number(from) + row * shape.from_stride;
    work.uses.push_back({begin, begin + shape.width, false});
  }
  work.act = [&queue, to, from, shape, kind] {
    for (std::size_t row = 0; row < shape.height; ++row) {
      std::string bytes(shape.width, '\0');
      char* const place = static_cast<char*>(to) + row * shape.to_stride;
      read_card(number(from) + row * shape.from_stride, bytes.data(), bytes.size());
      if (kind == Pinned::no) {
        std::memcpy(place, bytes.data(), bytes.size());
      } else {
        std::memset(place, kNotYet, bytes.size());
        when_ended(queue,
                   [place, bytes = std::move(bytes)] { std::memcpy(place, bytes.data(), bytes.size()); });
      }
    }
  };
  run(queue, std::move(work));
  if (kind == Pinned::no) host_waits(queue);  // the driver returns when pageable memory has been written
}

void copy_between_cards(Stream& queue, void* to, const void* from, const Shape& shape) {
  Work work{"a copy within cards", {}, {}, {}};
  for (std::size_t row = 0; row < shape.height; ++row) {
    const std::uint64_t target = number(to) + row * shape.to_stride;
    const std::uint64_t source = number(from) + row * shape.from_stride;
    work.uses.push_back({target, target + shape.width, true});
    work.uses.push_back({source, source + shape.width, false});
  }
  work.act = [to, from, shape] {
    for (std::size_t row = 0; row < shape.height; ++row)
      copy_card(number(to) + row * shape.to_stride, number(from) + row * shape.from_stride, shape.width);
  };
  run(queue, std::move(work));
}

cudaError_t copy(void* to, const void* from, const Shape& shape, Stream& queue, bool waits) {
  if (shape.width == 0 || shape.height == 0) return cudaSuccess;
  const bool to_card = is_card_memory(to);
  const bool from_card = is_card_memory(from);
  if (to_card && from_card) {
    copy_between_cards(queue, to, from, shape);
  } else if (to_card) {
    copy_to_card(queue, to, from, shape, waits);
  } else if (from_card) {
    copy_to_host(queue, to, from, shape);
  } else {
    for (std::size_t row = 0; row < shape.height; ++row)
      std::memmove(static_cast<char*>(to) + row * shape.to_stride,
                   static_cast<const char*>(from) + row * shape.from_stride, shape.width);
  }
  if (waits) host_waits(queue);
  return cudaSuccess;
}

cudaError_t fill(void* to, int value, std::size_t size, Stream& queue) {
  if (size == 0) return cudaSuccess;
  const std::uint64_t begin = number(to);
  run(queue, {"a fill", {{begin, begin + size, true}}, [=] { fill_card(begin, value, size); }, {}});
  return cudaSuccess;
}

}  // namespace
}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind,
                                            cudaStream_t handle) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaMemcpyAsync"); code != cudaSuccess) return code;
  return copy(to, from, {size, 1, size, size}, stream(handle), false);
}
STAND_IN_EXPORT cudaError_t cudaMemcpy(void* to, const void* from, std::size_t size, cudaMemcpyKind) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaMemcpy"); code != cudaSuccess) return code;
  return copy(to, from, {size, 1, size, size}, stream(nullptr), true);
}
STAND_IN_EXPORT cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_stride, const void* from,
                                              std::size_t from_stride, std::size_t width, std::size_t height,
                                              cudaMemcpyKind, cudaStream_t handle) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaMemcpy2DAsync"); code != cudaSuccess) return code;
  return copy(to, from, {width, height, to_stride, from_stride}, stream(handle), false);
}
STAND_IN_EXPORT cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t size,
                                                cudaStream_t handle) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaMemcpyPeerAsync"); code != cudaSuccess) return code;
  return copy(to, from, {size, 1, size, size}, stream(handle), false);
}
STAND_IN_EXPORT cudaError_t cudaMemcpy3DPeerAsync(const cudaMemcpy3DPeerParms*, cudaStream_t) {
  broken("copies", "the stand-in knows no copy of three dimensions between cards");
  return error(cudaErrorNotSupported);
}
STAND_IN_EXPORT cudaError_t cudaMemsetAsync(void* to, int value, std::size_t size, cudaStream_t handle) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaMemsetAsync"); code != cudaSuccess) return code;
  return fill(to, value, size, stream(handle));
}
STAND_IN_EXPORT cudaError_t cudaMemset(void* to, int value, std::size_t size) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaMemset"); code != cudaSuccess) return code;
  return fill(to, value, size, stream(nullptr));
}

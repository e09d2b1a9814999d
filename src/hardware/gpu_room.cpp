#include "hardware/gpu_room.h"

namespace brimful::hardware {
namespace {

constexpr Bytes kReserve = kMiB * 256;
constexpr Bytes kReserveBesideADesktop = kMiB * 512;
constexpr Bytes kStep = kMiB * 128;

}  // namespace

Bytes held_by_programs(const Gpu& gpu) { return saturating_sub(gpu.used, gpu.reserved.value_or(Bytes{})); }

Bytes reserve_for_others(const Gpu& gpu) { return gpu.draws ? kReserveBesideADesktop : kReserve; }

Bytes automatic_budget(const Gpu& gpu) {
  return align_down(saturating_sub(gpu.free, reserve_for_others(gpu)), kStep);
}

}  // namespace brimful::hardware

// Who holds how much of each card's memory: this process by kind, other processes of the stand-in, and a
// program that is only a number. NVML's stand-in reads the same figures from another process.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace stand_in {

/// What memory is held for. The driver hands out memory in blocks of 2 MiB; each kind is rounded up to blocks
/// by itself.
enum class Kind { context, large, small, kernels, driver, page_tables };

/// Takes memory of a card. False: the card has not so much left, or this allocation is the one that fails;
/// then nothing is taken. `what` is the function of CUDA, for the journal. `counts` says whether this is one
/// of the allocations that can fail and are counted.
[[nodiscard]] bool take(int card, Kind kind, std::uint64_t bytes, std::string_view what, bool counts = true);
/// Gives back what take() has taken.
void give(int card, Kind kind, std::uint64_t bytes, std::string_view what);
/// The kind of an allocation of so many bytes: the driver packs those below 1 MiB together.
Kind kind_of(std::uint64_t bytes);

/// Counts an allocation that takes no memory of a card, such as pinned memory. False: it is the one that
/// fails.
[[nodiscard]] bool may_allocate(std::string_view what);

/// Starts the driver on the card unless it runs there, as nearly every function of CUDA does. False: no
/// memory.
[[nodiscard]] bool start_context(int card, std::string_view what);
/// The cards on which this process has a context.
std::vector<int> contexts();

std::uint64_t free_bytes(int card);
struct Holder {
  std::uint32_t pid;
  std::uint64_t bytes;
};
/// The processes that hold memory of the card. Takes no lock: a child of fork() may call it.
std::vector<Holder> holders(int card);
/// Memory that a program holds which is only a number.
std::uint64_t held_by_others(int card);
/// The most that this process has held of a card.
std::uint64_t peak(int card);
std::uint64_t allocations();

}  // namespace stand_in

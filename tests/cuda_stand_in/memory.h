// The memory of the cards. Its addresses are reserved space that no program can touch: a read or a write by
// the CPU ends the process, as it would with a card's memory. The bytes lie in a file without a name, so that
// they are not counted as memory of this process, whose RAM has a budget of its own. Addresses are never used
// twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace stand_in {

struct Block {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  int card = 0;
};

/// Reserves addresses; a gap that belongs to nobody follows them.
std::uint64_t reserve_addresses(std::uint64_t size);
/// Puts memory of the card behind reserved addresses.
void map_memory(const Block& block);
/// Takes the blocks in this range away, and forgets their bytes. Calls `each` with each of them.
void unmap_memory(std::uint64_t begin, std::uint64_t size, void (*each)(const Block&));

/// The block that holds this address; null: none does.
const Block* block_of(std::uint64_t address);
/// Whether the address may be one of a card's memory, allocated or not.
bool is_card_memory(const void* address);
/// Whether all bytes are allocated. Otherwise it says so in the journal: `what` is what was about to use
/// them.
bool allocated(std::uint64_t begin, std::uint64_t size, std::string_view what);

void write_card(std::uint64_t to, const void* from, std::size_t size);
void read_card(std::uint64_t from, void* to, std::size_t size);
void fill_card(std::uint64_t to, int value, std::size_t size);
void copy_card(std::uint64_t to, std::uint64_t from, std::size_t size);

}  // namespace stand_in

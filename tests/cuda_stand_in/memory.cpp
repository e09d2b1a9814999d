#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "journal.h"

namespace stand_in {
namespace {

constexpr std::uint64_t kSpace = 1ULL
                                 << 42;  // of addresses, and of the file, which has only what was written
constexpr std::uint64_t kGap = 2 << 20;
constexpr std::size_t kPiece = 1 << 20;

std::uint64_t base() {
  static const std::uint64_t begin = [] {
    void* const space =
        ::mmap(nullptr, kSpace, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) std::abort();
    return reinterpret_cast<std::uint64_t>(space);
  }();
  return begin;
}

int content() {
  static const int file = [] {
    const int made = ::memfd_create("memory of cards", MFD_CLOEXEC);
    if (made < 0 || ::ftruncate(made, static_cast<off_t>(kSpace)) != 0) std::abort();
    return made;
  }();
  return file;
}

off_t place(std::uint64_t address) { return static_cast<off_t>(address - base()); }

std::map<std::uint64_t, Block>& blocks() {
  static auto* const map = new std::map<std::uint64_t, Block>;
  return *map;
}

std::vector<char>& piece() {
  static auto* const buffer = new std::vector<char>(kPiece);
  return *buffer;
}

/// A negative result is a source or a target in the host's memory that is not there.
void check(ssize_t done) {
  if (done <= 0) broken("host memory", "a copy reads or writes memory of the host that is not there");
}

}  // namespace

std::uint64_t reserve_addresses(std::uint64_t size) {
  static std::uint64_t next = base() + kGap;
  const std::uint64_t begin = next;
  next += (size + 2 * kGap - 1) / kGap * kGap;
  if (next > base() + kSpace) std::abort();
  return begin;
}

void map_memory(const Block& block) { blocks()[block.begin] = block; }

void unmap_memory(std::uint64_t begin, std::uint64_t size, void (*each)(const Block&)) {
  auto at = blocks().lower_bound(begin);
  while (at != blocks().end() && at->first < begin + size) {
    const Block block = at->second;
    at = blocks().erase(at);
    ::fallocate(content(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, place(block.begin),
                static_cast<off_t>(block.size));
    each(block);
  }
}

const Block* block_of(std::uint64_t address) {
  auto at = blocks().upper_bound(address);
  if (at == blocks().begin()) return nullptr;
  --at;
  return address < at->second.begin + at->second.size ? &at->second : nullptr;
}

bool is_card_memory(const void* address) {
  const auto number = reinterpret_cast<std::uint64_t>(address);
  return number >= base() && number < base() + kSpace;
}

bool allocated(std::uint64_t begin, std::uint64_t size, std::string_view what) {
  const std::uint64_t end = begin + size;
  for (std::uint64_t at = begin; at < end;) {
    const Block* const block = block_of(at);
    if (block == nullptr) {
      broken("bounds", std::string(what) + " uses " + std::to_string(size) +
                           " bytes of a card, of which those from byte " + std::to_string(at - begin) +
                           " on are not allocated");
      return false;
    }
    at = block->begin + block->size;
  }
  return true;
}

void write_card(std::uint64_t to, const void* from, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t now =
        ::pwrite(content(), static_cast<const char*>(from) + done, size - done, place(to + done));
    check(now);
    if (now <= 0) return;
    done += static_cast<std::size_t>(now);
  }
}

void read_card(std::uint64_t from, void* to, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t now = ::pread(content(), static_cast<char*>(to) + done, size - done, place(from + done));
    check(now);
    if (now <= 0) return;
    done += static_cast<std::size_t>(now);
  }
}

void fill_card(std::uint64_t to, int value, std::size_t size) {
  if (value == 0 && size >= kPiece) {  // a hole is read as zeros
    ::fallocate(content(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, place(to), static_cast<off_t>(size));
    return;
  }
  std::fill(piece().begin(), piece().end(), static_cast<char>(value));
  for (std::size_t done = 0; done < size; done += kPiece)
    write_card(to + done, piece().data(), std::min(kPiece, size - done));
}

void copy_card(std::uint64_t to, std::uint64_t from, std::size_t size) {
  for (std::size_t done = 0; done < size; done += kPiece) {
    const std::size_t now = std::min(kPiece, size - done);
    read_card(from + done, piece().data(), now);
    write_card(to + done, piece().data(), now);
  }
}

}  // namespace stand_in

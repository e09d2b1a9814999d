#include "vram.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>

#include "journal.h"
#include "settings.h"

namespace stand_in {
namespace {

constexpr std::uint64_t kBlock = 2 << 20;
constexpr std::uint64_t kSmall = 1 << 20;
constexpr std::size_t kKinds = 6;
constexpr std::size_t kMostProcesses = 64;

/// The file that all processes of the stand-in map.
struct Shared {
  struct Process {
    std::atomic<std::uint32_t> pid;
    std::atomic<std::uint64_t> used[kMostCards];
  };
  std::atomic<std::uint64_t> others[kMostCards];
  Process processes[kMostProcesses];
};

Shared& shared() {
  static Shared* const mapped = [] {
    const std::string path = settings().folder + "/cards";
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || ::ftruncate(file, sizeof(Shared)) != 0) std::abort();
    void* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    if (memory == MAP_FAILED) std::abort();
    return static_cast<Shared*>(memory);
  }();
  return *mapped;
}

/// The entry of this process, made when it first holds memory.
Shared::Process& own_entry() {
  static Shared::Process* const entry = [] {
    for (Shared::Process& process : shared().processes) {
      std::uint32_t nobody = 0;
      if (process.pid.compare_exchange_strong(nobody, static_cast<std::uint32_t>(::getpid())))
        return &process;
    }
    std::abort();
  }();
  return *entry;
}

struct Card {
  bool has_context = false;
  std::array<std::uint64_t, kKinds> held{};
  std::uint64_t peak = 0;
};
std::array<Card, kMostCards> cards;
std::uint64_t counted = 0;

std::uint64_t whole(std::uint64_t bytes, std::uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

std::uint64_t used(const Card& card) {
  std::uint64_t out = 0;
  for (const std::uint64_t bytes : card.held) out += whole(bytes, kBlock);
  return out;
}

bool is_gone(std::uint32_t pid) { return ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH; }

void publish(int number, std::string_view what, std::uint64_t bytes) {
  Card& card = cards[static_cast<std::size_t>(number)];
  const std::uint64_t now = used(card);
  const bool higher = now > card.peak;
  card.peak = std::max(card.peak, now);
  own_entry().used[number] = now;
  Line(what).with("card", static_cast<std::uint64_t>(number)).with("bytes", bytes).with("used", now);
  const std::uint64_t budget = settings().budget[static_cast<std::size_t>(number)];
  if (higher && budget > 0 && now > budget)
    broken("budget", "card " + std::to_string(number) + ": " + std::to_string(now) +
                         " bytes are held after " + std::string(what) + ", the budget is " +
                         std::to_string(budget));
}

}  // namespace

Kind kind_of(std::uint64_t bytes) { return bytes < kSmall ? Kind::small : Kind::large; }

bool may_allocate(std::string_view what) {
  ++counted;
  const Settings& now = settings();
  if (counted == now.other_at) {
    shared().others[now.other_card] += now.other_bytes;
    Line("another program takes memory").with("card", now.other_card).with("bytes", now.other_bytes);
  }
  if (counted != now.fail_at) return true;
  Line("fails").with("call", what).with("number", counted);
  return false;
}

bool take(int number, Kind kind, std::uint64_t bytes, std::string_view what, bool counts) {
  if (counts && !may_allocate(what)) return false;
  Card& card = cards[static_cast<std::size_t>(number)];
  const std::uint64_t before = used(card);
  // cudaMalloc rounds each large allocation up by itself.
  const std::uint64_t size = kind == Kind::large ? whole(bytes, kBlock) : bytes;
  card.held[static_cast<std::size_t>(kind)] += size;
  const std::uint64_t more = used(card) - before;
  if (more > free_bytes(number)) {
    card.held[static_cast<std::size_t>(kind)] -= size;
    Line("no memory").with("call", what).with("bytes", bytes).with("free", free_bytes(number));
    return false;
  }
  publish(number, what, bytes);
  return true;
}

void give(int number, Kind kind, std::uint64_t bytes, std::string_view what) {
  const std::uint64_t size = kind == Kind::large ? whole(bytes, kBlock) : bytes;
  cards[static_cast<std::size_t>(number)].held[static_cast<std::size_t>(kind)] -= size;
  publish(number, what, bytes);
}

bool start_context(int number, std::string_view what) {
  Card& card = cards[static_cast<std::size_t>(number)];
  if (card.has_context) return true;
  if (!take(number, Kind::context, settings().context, "context")) return false;
  card.has_context = true;
  Line("context started").with("card", static_cast<std::uint64_t>(number)).with("call", what);
  return true;
}

std::vector<int> contexts() {
  std::vector<int> out;
  for (int card = 0; card < kMostCards; ++card) {
    if (cards[static_cast<std::size_t>(card)].has_context) out.push_back(card);
  }
  return out;
}

std::uint64_t held_by_others(int card) { return shared().others[card]; }

std::vector<Holder> holders(int card) {
  std::vector<Holder> out;
  for (const Shared::Process& process : shared().processes) {
    const std::uint32_t pid = process.pid;
    if (pid != 0 && process.used[card] > 0 && !is_gone(pid)) out.push_back({pid, process.used[card]});
  }
  return out;
}

std::uint64_t free_bytes(int card) {
  std::uint64_t taken = held_by_others(card);
  for (const Holder& holder : holders(card)) taken += holder.bytes;
  return taken < settings().total ? settings().total - taken : 0;
}

std::uint64_t peak(int card) { return cards[static_cast<std::size_t>(card)].peak; }
std::uint64_t allocations() { return counted; }

}  // namespace stand_in

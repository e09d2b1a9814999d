#include "streams.h"

#include <algorithm>
#include <map>

#include "journal.h"
#include "memory.h"

namespace stand_in {
namespace {

/// What is done once the host knows that a piece of work has ended.
struct Later {
  std::size_t stream;
  std::uint64_t count;
  std::function<void()> act;
};

/// Everything here lives to the end of the process: ggml's destructors may run after ours.
struct World {
  std::vector<std::unique_ptr<Stream>> streams;
  std::map<int, Stream*> legacy;
  Clock host;
  std::vector<Later> later;
};
World& world() {
  static auto* const it = new World;
  return *it;
}

std::uint64_t at(const Clock& clock, std::size_t stream) { return stream < clock.size() ? clock[stream] : 0; }

void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (std::size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

std::uint64_t count_of(const Stream& stream) {
  return at(stream.known, static_cast<std::size_t>(stream.number));
}

void host_learns(const Clock& clock) {
  World& all_streams = world();
  join(all_streams.host, clock);
  for (const auto& stream : all_streams.streams) {
    const std::uint64_t ended = at(all_streams.host, static_cast<std::size_t>(stream->number));
    std::erase_if(stream->open, [&](const Stream::Open& open) { return open.count <= ended; });
  }
  std::vector<Later> now;
  std::erase_if(all_streams.later, [&](Later& later) {
    if (later.count > at(all_streams.host, later.stream)) return false;
    now.push_back(std::move(later));
    return true;
  });
  for (const Later& later : now) later.act();
}

/// The work starts behind all that was known to its caller, to its stream, and to the streams that wait for
/// each other.
void order(Stream& stream) {
  join(stream.known, world().host);
  const auto legacy = world().legacy.find(stream.card);
  if (legacy == world().legacy.end()) return;
  if (legacy->second == &stream) {
    for (const auto& other : world().streams) {
      if (other->card == stream.card && other->blocking) join(stream.known, other->known);
    }
  } else if (stream.blocking) {
    join(stream.known, legacy->second->known);
  }
}

void check_order(const Stream& stream, const Work& work, const Use& use) {
  for (const auto& other : world().streams) {
    if (other.get() == &stream) continue;
    const std::uint64_t ended = at(stream.known, static_cast<std::size_t>(other->number));
    for (const Stream::Open& open : other->open) {
      if (open.count <= ended || !(open.use.writes || use.writes)) continue;
      if (open.use.end <= use.begin || use.end <= open.use.begin) continue;
      broken("order", work.name + (use.writes ? " writes" : " reads") + " what " + open.name +
                          (open.use.writes ? " may still write" : " may still read") + " (streams " +
                          std::to_string(stream.number) + " and " + std::to_string(other->number) + ")");
    }
  }
}

}  // namespace

Stream& make_stream(int card, bool blocking) {
  World& all_streams = world();
  auto stream = std::make_unique<Stream>();
  stream->number = static_cast<int>(all_streams.streams.size());
  stream->card = card;
  stream->blocking = blocking;
  all_streams.streams.push_back(std::move(stream));
  return *all_streams.streams.back();
}

void drop_stream(Stream& stream) { stream.records.reset(); }

Stream& stream_of(void* handle, int card) {
  const auto number = reinterpret_cast<std::uintptr_t>(handle);
  if (number > 2) return *static_cast<Stream*>(handle);
  if (number == 2) {
    thread_local std::map<int, Stream*> own;
    Stream*& stream = own[card];
    if (stream == nullptr) stream = &make_stream(card, true);
    return *stream;
  }
  Stream*& stream = world().legacy[card];
  if (stream == nullptr) stream = &make_stream(card, true);
  return *stream;
}

void run(Stream& stream, Work work) {
  if (stream.records) {
    stream.records->nodes.push_back(std::move(work));
    return;
  }
  order(stream);
  const auto number = static_cast<std::size_t>(stream.number);
  if (stream.known.size() <= number) stream.known.resize(number + 1);
  const std::uint64_t count = ++stream.known[number];
  bool there = true;
  const auto uses = [&](const Use& use) {
    there = allocated(use.begin, use.end - use.begin, work.name) && there;
    check_order(stream, work, use);
    stream.open.push_back({work.name, use, count});
  };
  for (const Use& use : work.uses) uses(use);
  if (work.more_uses) {
    for (const Use& use : work.more_uses()) uses(use);
  }
  if (there && work.act) work.act();
}

void host_waits(const Stream& stream) { host_learns(stream.known); }
void host_waits(const Event& event) { host_learns(event.known); }

void host_waits_for_card(int card) {
  Clock known;
  for (const auto& stream : world().streams) {
    if (stream->card == card) join(known, stream->known);
  }
  host_learns(known);
}

bool has_ended(const Stream& stream) {
  return at(world().host, static_cast<std::size_t>(stream.number)) >= count_of(stream);
}

void record(Event& event, Stream& stream) {
  order(stream);
  event.known = stream.known;
  event.records = stream.records;
}

void wait(Stream& stream, const Event& event) {
  if (event.records) stream.records = event.records;  // the stream joins the recording
  join(stream.known, event.known);
}

void end_recording(const std::shared_ptr<Graph>& graph) {
  for (const auto& stream : world().streams) {
    if (stream->records == graph) stream->records.reset();
  }
}

void expect_unused(std::uint64_t begin, std::uint64_t size, const std::string& what) {
  for (const auto& stream : world().streams) {
    for (const Stream::Open& open : stream->open) {
      if (open.use.begin < begin + size && begin < open.use.end)
        broken("order", what + " takes memory away that " + open.name + " may still use");
    }
  }
}

void when_ended(const Stream& stream, std::function<void()> check) {
  world().later.push_back({static_cast<std::size_t>(stream.number), count_of(stream), std::move(check)});
}

}  // namespace stand_in

// Streams, events and the order that they make. Nothing runs at another time than it is called: what is
// checked is whether an order was *asked for*. Each stream counts its work; a clock says up to which count of
// each stream all is known to have ended. Two uses of the same bytes, one of them a write, must be ordered by
// the clocks. All threads of the host have one clock: that one thread waited and told another one is not
// seen, so that it counts as known to all.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stand_in {

using Clock = std::vector<std::uint64_t>;  // indexed by stream

/// A use of bytes of a card.
struct Use {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool writes = false;
};

/// A kernel, a copy or a fill.
struct Work {
  std::string name;
  std::vector<Use> uses;
  std::function<void()> act;
  /// Uses that only the content of the card's memory tells, when the work runs.
  std::function<std::vector<Use>()> more_uses;
};

struct Graph {
  std::vector<Work> nodes;
};

struct Stream {
  int number = 0;
  int card = 0;
  /// Whether it waits for the legacy stream, and that one for it.
  bool blocking = true;
  Clock known;
  /// The graph that it records; null: it computes.
  std::shared_ptr<Graph> records;
  struct Open {
    std::string name;
    Use use;
    std::uint64_t count;
  };
  /// What the host does not know to have ended.
  std::vector<Open> open;
};

struct Event {
  Clock known;
  /// The graph of the stream that recorded it, if that one recorded a graph.
  std::shared_ptr<Graph> records;
};

/// The stream that a handle of the runtime names: its own, the legacy one of the card, or the one of this
/// thread.
Stream& stream_of(void* handle, int card);
Stream& make_stream(int card, bool blocking);
/// Forgets the stream. The work in it goes on.
void drop_stream(Stream& stream);

/// Runs the work, or adds it to the graph that the stream records.
void run(Stream& stream, Work work);
/// The host waits for all that is in the stream now.
void host_waits(const Stream& stream);
void host_waits(const Event& event);
/// The host waits for all streams of the card.
void host_waits_for_card(int card);
/// Whether the host knows that all work in the stream has ended.
bool has_ended(const Stream& stream);
void record(Event& event, Stream& stream);
void wait(Stream& stream, const Event& event);
/// Ends recording in all streams that record this graph.
void end_recording(const std::shared_ptr<Graph>& graph);
/// Says in the journal if work that may not have ended uses these bytes.
void expect_unused(std::uint64_t begin, std::uint64_t size, const std::string& what);

/// Calls `check` as soon as the host knows that the last work of the stream has ended.
void when_ended(const Stream& stream, std::function<void()> check);

}  // namespace stand_in

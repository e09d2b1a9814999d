#include "tier/stream/streamer.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "base/check.h"

namespace brimful::tier {
namespace {

constexpr std::uint64_t kReadBlock = 2ULL << 20;
constexpr std::size_t kDepth = 16;
// Unit: bytes. Devices need this alignment; spans of whole blocks have it anyway.
constexpr std::uint64_t kSlotAlignment = 256;

/// Asks the scheduler for short slices, so that this thread runs as soon as a read ends even while every core
/// computes (measured: 3 to 10% more bandwidth). Best effort: kernels before 6.12 ignore it.
void wake_promptly() {
  struct {  // the kernel's sched_attr, whose header clashes with libc's
    std::uint32_t size = 48;
    std::uint32_t policy = 0;
    std::uint64_t flags = 0;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime = 100'000;  // ns, the shortest slice
    std::uint64_t deadline = 0;
    std::uint64_t period = 0;
  } attributes;
  static_assert(sizeof attributes == 48);
  ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

std::uint64_t piece_of(const StreamEntry& entry) { return entry.piece == 0 ? entry.span : entry.piece; }

/// The number of reads that an entry takes.
std::uint32_t reads_of(const StreamEntry& entry) {
  const auto reads = [](std::uint64_t bytes) { return (bytes + kReadBlock - 1) / kReadBlock; };
  const std::uint64_t piece = piece_of(entry);
  return static_cast<std::uint32_t>(entry.span / piece * reads(piece) + reads(entry.span % piece));
}

}  // namespace

Streamer::Streamer(const DiskFiles& files, ReaderFactory make_reader, std::byte* ring, Bytes ring_size,
                   Trace* trace)
    : files_(files),
      make_reader_(std::move(make_reader)),
      ring_(ring),
      ring_size_(ring_size),
      trace_(trace) {}

Streamer::~Streamer() { stop(); }

void Streamer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  space_.notify_all();
  if (thread_.joinable()) thread_.join();
  reader_.reset();
  entries_.clear();
}

Status Streamer::start(std::vector<StreamEntry> entries) {
  stop();
  stop_ = false;
  error_.reset();
  pass_ = released_ = next_ = next_byte_ = waiting_ = 0;
  traced_.clear();
  entries_ = std::move(entries);
  if (entries_.empty()) return {};
  assign_slots();
  auto reader = make_reader_(files_, kDepth);
  if (!reader) {
    entries_.clear();
    return std::unexpected(reader.error());
  }
  reader_ = std::move(*reader);
  try {
    thread_ = std::thread([this] { read_loop(*reader_); });
  } catch (const std::system_error& error) {
    entries_.clear();
    return fail(ErrorCode::kInternal, std::string("cannot start the reader thread: ") + error.what());
  }
  return {};
}

bool Streamer::running(const std::vector<StreamEntry>& entries) const {
  const std::lock_guard lock(mutex_);
  return !error_ && entries_ == entries;
}

void Streamer::assign_slots() {
  const std::size_t n = entries_.size();
  const auto size = [this](std::size_t i) { return entries_[i].span + entries_[i].padding; };
  slots_.assign(n, Slot{});
  std::uint64_t position = 0;
  for (std::size_t i = 0; i < n; ++i) {
    BRIMFUL_CHECK(size(i) <= ring_size_.value);
    if (position + size(i) > ring_size_.value) position = 0;
    slots_[i].offset = position;
    position += align_up(size(i), kSlotAlignment);
  }
  const auto overlap = [&](std::size_t a, std::size_t b) {
    return slots_[a].offset < slots_[b].offset + size(b) && slots_[b].offset < slots_[a].offset + size(a);
  };
  for (std::size_t i = 0; i < n; ++i) {
    std::uint64_t back = 1;
    while (!overlap(i, (i + n - back % n) % n)) ++back;  // ends at the entry itself, one pass ago
    slots_[i].wait_for = back;
  }
}

bool Streamer::can_read() const {
  if (next_byte_ > 0) return true;  // the entry was begun, so its slot is free
  const std::uint64_t back = slots_[next_ % entries_.size()].wait_for;
  return next_ < back || released_ > next_ - back;
}

BlockRead Streamer::next_block() {
  const std::size_t i = next_ % entries_.size();
  const StreamEntry& entry = entries_[i];
  Slot& slot = slots_[i];
  if (next_byte_ == 0) slot.blocks_left = reads_of(entry);
  const std::uint64_t left_of_piece = piece_of(entry) - next_byte_ % piece_of(entry);
  const BlockRead read{
      .file = entry.file,
      .offset = entry.offset + next_byte_,
      .size = static_cast<std::uint32_t>(std::min({kReadBlock, left_of_piece, entry.span - next_byte_})),
      .target = ring_ + slot.offset + next_byte_,
      .tag = i};
  next_byte_ += read.size;
  statistics_.read += Bytes{read.size};
  if (next_byte_ == entry.span) {
    next_byte_ = 0;
    ++next_;
  }
  return read;
}

void Streamer::take(const BlockDone& done) {
  if (!done.status) {
    if (!error_) error_ = done.status.error();
    loaded_.notify_all();
    return;
  }
  Slot& slot = slots_[done.tag];
  if (--slot.blocks_left > 0) return;
  ++slot.loaded;
  trace_ring(done.tag, done.tag + 1, true);
  loaded_.notify_all();
}

void Streamer::read_loop(DiskReader& reader) {
  wake_promptly();
  std::unique_lock lock(mutex_);
  while (!stop_ && !error_) {
    if (reader.in_flight() < reader.depth() && can_read()) {
      const BlockRead read = next_block();
      lock.unlock();  // a submission takes the kernel a while: the consumer must not wait for it
      trace_submission(read);
      reader.submit(read);
      lock.lock();
      continue;
    }
    if (reader.in_flight() == 0) {
      space_.wait(lock, [&] { return stop_ || can_read(); });
      continue;
    }
    lock.unlock();
    const BlockDone done = reader.wait();
    trace_completion(done);
    lock.lock();
    take(done);
  }
  lock.unlock();
  while (reader.in_flight() > 0) static_cast<void>(reader.wait());  // the kernel may still write to the ring
}

void Streamer::trace_submission(const BlockRead& read) {
  if (trace_ == nullptr) return;
  auto line = std::ranges::find(traced_, false, &TracedRead::busy);
  if (line == traced_.end()) line = traced_.insert(line, TracedRead{});
  *line = {read.tag, read.size, Trace::Clock::now(), true};
}

void Streamer::trace_completion(const BlockDone& done) {
  if (trace_ == nullptr) return;
  // The blocks of one entry may end in any order, so any of its lines will do.
  const auto line = std::ranges::find_if(
      traced_, [&](const TracedRead& read) { return read.busy && read.entry == done.tag; });
  if (line == traced_.end()) return;
  trace_->span(Trace::kReads + static_cast<std::uint32_t>(line - traced_.begin()), "read", line->begin,
               line->bytes);
  line->busy = false;
}

void Streamer::trace_ring(std::uint64_t first, std::uint64_t end, bool came) {
  if (trace_ == nullptr) return;
  for (std::uint64_t i = first; i < end; ++i) {
    const std::uint64_t span = entries_[i % entries_.size()].span;
    waiting_ = came ? waiting_ + span : waiting_ - span;
  }
  trace_->ring(waiting_);
}

Status Streamer::wait(std::size_t i) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return error_ || slots_[i].loaded > pass_; };
  if (!ready()) {
    const auto begin = std::chrono::steady_clock::now();
    loaded_.wait(lock, ready);
    statistics_.stalled += std::chrono::steady_clock::now() - begin;
    if (trace_ != nullptr) trace_->span(Trace::kWaits, "wait", begin);
  }
  if (error_) return std::unexpected(*error_);
  return {};
}

bool Streamer::ready(std::size_t i) const {
  const std::lock_guard lock(mutex_);
  return error_ || slots_[i].loaded > pass_;
}

void Streamer::release(std::size_t count) {
  {
    const std::lock_guard lock(mutex_);
    const std::uint64_t before = released_;
    released_ = std::max(released_, pass_ * entries_.size() + count);
    trace_ring(before, released_, false);
  }
  space_.notify_one();
}

void Streamer::next_pass() {
  const std::lock_guard lock(mutex_);
  ++pass_;
  BRIMFUL_CHECK(released_ == pass_ * entries_.size());
}

StreamStatistics Streamer::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace brimful::tier

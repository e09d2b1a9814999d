#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "foreign/fence.h"

namespace brimful::foreign {

/// Limits for all foreign texts together: grammars, schemas, chat templates, and parsers of answers. Only one
/// foreign text is read at a time. At the same time, the scheduler's thread may sample under one grammar.
struct ForeignLimits {
  /// For reading the texts of one request. The reader holds ForeignReading.
  FenceLimits reading;
  /// For one token under a grammar, and for the memory that the grammar of one answer keeps.
  FenceLimits sampling;

  /// The part of the stack that these libraries may fill.
  static constexpr Bytes kStack{2ULL << 20};
};

/// The limits of a process with this memory budget. They are lower when the budget is small.
[[nodiscard]] ForeignLimits foreign_limits_for(Bytes budget);

/// The limits of this process, less the memory that escapes have lost. Before set_foreign_limits(), they are
/// those of a large budget. On a thread that has a ForeignTime, they are the part of that time which is left.
/// Thread-safe.
[[nodiscard]] ForeignLimits foreign_limits();
/// Sets the memory budget that the limits follow from. Thread-safe.
void set_foreign_limits(Bytes budget);

/// The limits for tokenizing one text of a client: llama.cpp takes up to 75 bytes for each byte of the text,
/// and searches all pieces of the text again for each control token. `tokens` is the size of the context;
/// unset: there is no context yet, and the limit is a quarter of the budget. Whoever plans a context reserves
/// the bytes that this limit has beyond ForeignLimits::reading.
[[nodiscard]] FenceLimits limits_of_text(std::optional<std::uint64_t> tokens);
/// The bytes of limits_of_text() for a context of `tokens` tokens, in a process with this memory budget.
[[nodiscard]] Bytes bytes_for_text(std::uint64_t tokens, Bytes budget);

/// A request with foreign texts to read. It lives from the moment when the request has arrived completely.
/// While it lives, all other requests get less time, so that nobody waits long. Thread-safe; it has one
/// owner.
class ForeignArrival {
 public:
  ForeignArrival();
  ~ForeignArrival();
  ForeignArrival(const ForeignArrival&) = delete;
  ForeignArrival& operator=(const ForeignArrival&) = delete;
  [[nodiscard]] std::chrono::steady_clock::time_point when() const { return when_; }

 private:
  const std::chrono::steady_clock::time_point when_ = std::chrono::steady_clock::now();
};

/// How long one of `others + 1` requests may read, in wall-clock time, when it has waited for `waited`. With
/// at most eight requests, all of them are done about 4 s after they arrived. At least 250 ms, at most 2.5 s.
[[nodiscard]] std::chrono::milliseconds share_of_reading(std::size_t others,
                                                         std::chrono::milliseconds waited);

/// The time that all foreign texts of one request share. On a thread without a ForeignTime, each text has the
/// time of one request. Threading: the thread that reads the request makes and destroys it. A thread has one
/// at a time.
class ForeignTime {
 public:
  /// `arrival` outlives this.
  explicit ForeignTime(const ForeignArrival& arrival);
  ~ForeignTime();
  ForeignTime(const ForeignTime&) = delete;
  ForeignTime& operator=(const ForeignTime&) = delete;

 private:
  friend class ForeignReading;
  friend ForeignLimits foreign_limits();

  /// Wall-clock time, and processor time of this thread.
  struct Times {
    std::chrono::milliseconds clock{0};
    std::chrono::milliseconds processor{0};
  };
  [[nodiscard]] static Times now();
  void begin();
  void end();
  [[nodiscard]] Times used() const;

  const ForeignArrival& arrival_;
  // Set when the first text is begun.
  std::optional<std::chrono::milliseconds> share_;
  // Used by the texts that have been read.
  Times used_;
  std::optional<Times> begun_;  // set while a text is being read
};

/// The right to read a foreign text. One thread of the process has it at a time. The constructor blocks until
/// the right is free, at most as long as the limits of the thread that has it. A thread that has the right
/// may ask for it again.
class ForeignReading {
 public:
  ForeignReading();
  ~ForeignReading();
  ForeignReading(const ForeignReading&) = delete;
  ForeignReading& operator=(const ForeignReading&) = delete;

 private:
  const bool is_outer_;
};

/// Reads a foreign text: runs `f` inside a fence, while this thread has the right to read. Errors: as
/// fenced().
template <typename F>
[[nodiscard]] auto read_foreign(F&& f) {
  const ForeignReading right;
  return fenced(foreign_limits().reading, std::forward<F>(f));
}

}  // namespace brimful::foreign

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "foreign/fence.h"

namespace brimful::foreign {

/// What grammars, schemas, chat templates and parsers of answers may take together. One such text is read at
/// a time, and beside it the executor's thread samples under one grammar at a time.
struct ForeignLimits {
  FenceLimits reading;   ///< of one request's texts: whoever reads them holds ForeignReading
  FenceLimits sampling;  ///< of one token under a grammar, and of what one answer's grammar keeps

  /// Of the stack that they may fill.
  static constexpr Bytes kStack{2ULL << 20};
};

/// Of a process with this budget for its memory: less where the budget is small.
[[nodiscard]] ForeignLimits foreign_limits_for(Bytes budget);

/// Of this process, without what escapes have lost. Before set_foreign_limits(): those of a large budget. On
/// a thread that has a ForeignTime: what is left of it. Threading: any.
[[nodiscard]] ForeignLimits foreign_limits();
void set_foreign_limits(Bytes budget);

/// For making tokens of one text of a client: llama.cpp takes up to 75 bytes for each byte, and looks through
/// all pieces of a text again for each control token in it. `tokens`: of the context. Before there is one,
/// unset: then it is what the budget can spare. Whoever plans a context reserves what this has beyond
/// ForeignLimits::reading.
[[nodiscard]] FenceLimits limits_of_text(std::optional<std::uint64_t> tokens);

/// A request whose foreign texts are to be read, from when it is complete: it counts for the others, who then
/// get less time, so that nobody waits long. Threading: any; one owner.
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

/// How long one of `others + 1` requests may read, by the clock, that has waited for so long: all of them are
/// done about 4 s after they came, where there are no more than eight. Never less than a quarter of a second.
[[nodiscard]] std::chrono::milliseconds share_of_reading(std::size_t others,
                                                         std::chrono::milliseconds waited);

/// The time that all foreign texts of one request share. Without one, each text has the time of one request.
/// Threading: the thread that makes it reads the request, and ends it. One at a time for a thread.
class ForeignTime {
 public:
  /// `arrival` outlives it.
  explicit ForeignTime(const ForeignArrival& arrival);
  ~ForeignTime();
  ForeignTime(const ForeignTime&) = delete;
  ForeignTime& operator=(const ForeignTime&) = delete;

 private:
  friend class ForeignReading;
  friend ForeignLimits foreign_limits();

  /// By the clock, and of the processor.
  struct Times {
    std::chrono::milliseconds clock{0};
    std::chrono::milliseconds processor{0};
  };
  [[nodiscard]] static Times now();
  void begin();
  void end();
  [[nodiscard]] Times used() const;

  const ForeignArrival& arrival_;
  std::optional<std::chrono::milliseconds> share_;  // since the first text was begun
  Times used_;                                      // by texts that were read
  std::optional<Times> begun_;                      // while one is read
};

/// The right to read a foreign text: one thread of the process has it at a time. Blocks until it is free,
/// which is no longer than the limits of the one who has it. A thread that has it may ask again.
class ForeignReading {
 public:
  ForeignReading();
  ~ForeignReading();
  ForeignReading(const ForeignReading&) = delete;
  ForeignReading& operator=(const ForeignReading&) = delete;

 private:
  const bool is_outer_;
};

/// Reads a foreign text: `f` runs with the right to read, inside a fence. Errors: as fenced().
template <typename F>
[[nodiscard]] auto read_foreign(F&& f) {
  const ForeignReading right;
  return fenced(foreign_limits().reading, std::forward<F>(f));
}

}  // namespace brimful::foreign

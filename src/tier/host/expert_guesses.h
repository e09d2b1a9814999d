#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tier/experts/expert_cache.h"
#include "tier/experts/expert_predictor.h"
#include "tier/experts/read_ahead.h"
#include "tier/host/compiled_pass.h"

namespace brimful::tier {

/// Guesses the experts of the next step of a pass, and reads some of them while the disk has nothing else to
/// do. A guess decides when an expert is read, and nothing else.
/// Threading: one thread at a time.
class ExpertGuesses {
 public:
  /// The arguments must outlive this object.
  ExpertGuesses(ExpertCache& experts, const WeightTable& table) : experts_(experts), table_(table) {}

  /// Call this before the cache begins the step: it looks which of the guesses have arrived.
  void before_step(const ExpertStep& step);
  /// Call this once the cache has begun step `number` of `program`: it learns which guesses were right, and
  /// guesses the experts of the next step.
  void after_begin(const CompiledPass& program, std::size_t number);
  /// Starts to read guessed experts. Call this when all reads of the step have ended.
  void read();

 private:
  void learn(std::uint32_t group);
  [[nodiscard]] std::span<const float> router_weights(const ExpertStep& step) const;

  ExpertCache& experts_;
  const WeightTable& table_;
  ExpertPredictor predictor_;
  ReadAhead ahead_;
  // Of the next step: its group, and the guesses that had no slot, in the order in which they are to be read.
  std::uint32_t next_group_ = 0;
  std::vector<ExpertPredictor::Guess> guesses_;
  // The number of them that were read.
  std::size_t read_ = 0;
  bool late_ = false;
};

}  // namespace brimful::tier

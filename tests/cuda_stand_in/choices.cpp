#include "choices.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "journal.h"
#include "memory.h"

namespace stand_in {
namespace {

template <typename Value>
Value argument(const Launch& launch, std::size_t index) {
  return *static_cast<const Value*>(launch.arguments[index]);
}

/// The row's experts in the order of its choice: they begin at one that a linear congruence picks, and half
/// of the rows begin in the first eighth.
std::vector<std::int32_t> row_of_experts(std::int32_t experts) {
  static std::uint32_t state = 1;
  state = state * 1664525 + 1013904223;
  const auto limit = static_cast<std::uint32_t>((state >> 16) % 2 == 0 ? std::max(experts / 8, 1) : experts);
  const auto first = static_cast<std::int32_t>((state >> 17) % limit);
  std::vector<std::int32_t> row(static_cast<std::size_t>(experts));
  for (std::int32_t i = 0; i < experts; ++i) row[static_cast<std::size_t>(i)] = (first + i) % experts;
  return row;
}

/// Writes the first `written` experts of each row's choice; rows have room for all experts.
std::function<void()> write_rows(std::uint64_t to, std::int64_t rows, std::int32_t experts,
                                 std::int32_t written) {
  return [=] {
    const std::size_t stride = static_cast<std::size_t>(experts) * sizeof(std::int32_t);
    const std::size_t bytes = static_cast<std::size_t>(written) * sizeof(std::int32_t);
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::uint64_t place = to + static_cast<std::uint64_t>(row) * stride;
      if (allocated(place, bytes, "the choice of experts"))
        write_card(place, row_of_experts(experts).data(), bytes);
    }
  };
}

}  // namespace

std::function<void()> choosing(std::string_view kernel, const Launch& launch) {
  // k_argsort_f32_i32<order>(x, dst, ncols, ncols_pad), a block for each row
  if (kernel.find("k_argsort_f32_i32") != std::string_view::npos) {
    const auto columns = argument<int>(launch, 2);
    return write_rows(argument<std::uint64_t>(launch, 1), launch.blocks[0], columns, columns);
  }
  // topk_moe_cuda<n_experts, has_bias>(logits, weights, ids, bias, n_rows, n_expert_used, ...)
  const std::size_t picks = kernel.find("topk_moe_cuda<");
  if (picks != std::string_view::npos) {
    const int experts = std::atoi(kernel.data() + kernel.find('<', picks) + 1);
    return write_rows(argument<std::uint64_t>(launch, 2), argument<int>(launch, 4), experts,
                      argument<int>(launch, 5));
  }
  return {};
}

std::set<std::int32_t> numbers_of(const Choices& choices) {
  std::set<std::int32_t> numbers;
  for (std::int64_t token = 0; token < choices.tokens; ++token) {
    std::vector<std::int32_t> row(static_cast<std::size_t>(choices.per_token));
    const std::uint64_t place = choices.begin + static_cast<std::uint64_t>(token) * choices.token_stride;
    if (!allocated(place, row.size() * sizeof(std::int32_t), "the choice of experts")) return numbers;
    read_card(place, row.data(), row.size() * sizeof(std::int32_t));
    for (const std::int32_t id : row) {
      if (id >= 0 && id < choices.matrices) numbers.insert(id);
    }
  }
  return numbers;
}

void check_choices(const Choices& choices, std::string_view kernel) {
  const auto bytes = static_cast<std::size_t>(choices.per_token) * sizeof(std::int32_t);
  std::vector<std::int32_t> row(static_cast<std::size_t>(choices.per_token));
  for (std::int64_t token = 0; token < choices.tokens; ++token) {
    const std::uint64_t place = choices.begin + static_cast<std::uint64_t>(token) * choices.token_stride;
    if (!allocated(place, bytes, "the choice of experts")) return;
    read_card(place, row.data(), bytes);
    std::ranges::sort(row);
    const bool in_range = row.front() >= 0 && row.back() < choices.matrices;
    if (in_range && std::ranges::adjacent_find(row) == row.end()) continue;
    std::string numbers;
    for (const std::int32_t id : row) numbers += " " + std::to_string(id);
    broken("experts", std::string(kernel) + ": token " + std::to_string(token) + " of " +
                          std::to_string(choices.tokens) + " chooses" + numbers + " of " +
                          std::to_string(choices.matrices) + " matrices");
    return;
  }
}

}  // namespace stand_in

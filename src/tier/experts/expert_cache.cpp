#include "tier/experts/expert_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace brimful::tier {
namespace {

// Unit: steps of the group. docs/adr/0008 has the values that were compared.
constexpr double kHalfLife = 64;

std::int32_t id_at(const ggml_tensor& ids, std::int64_t i, std::int64_t token) {
  return *reinterpret_cast<const std::int32_t*>(static_cast<const char*>(ids.data) +
                                                static_cast<std::size_t>(i) * ids.nb[0] +
                                                static_cast<std::size_t>(token) * ids.nb[1]);
}

}  // namespace

ExpertStatistics& ExpertStatistics::operator+=(const ExpertStatistics& other) {
  used += other.used;
  hits += other.hits;
  missed += other.missed;
  guesses += other.guesses;
  right_guesses += other.right_guesses;
  read += other.read;
  prefetched += other.prefetched;
  prefetched_bytes += other.prefetched_bytes;
  wasted += other.wasted;
  return *this;
}

ExpertStatistics ExpertStatistics::since(const ExpertStatistics& before) const {
  return {used - before.used,
          hits - before.hits,
          missed - before.missed,
          read - before.read,
          guesses - before.guesses,
          right_guesses - before.right_guesses,
          prefetched - before.prefetched,
          prefetched_bytes - before.prefetched_bytes,
          wasted - before.wasted};
}

ExpertCache::ExpertCache(const model::ModelProfile& profile, const plan::Placement& placement,
                         std::byte* arena, std::int32_t* ids, std::unique_ptr<DiskReader> reader)
    : profile_(profile),
      arena_(arena),
      ids_(ids),
      reader_(std::move(reader), arena + placement.bounce_place, placement.bounce_buffers),
      tiles_(profile, placement, arena, reader_),
      loans_(profile, placement, arena) {
  std::uint32_t most = 0;
  for (const plan::ExpertGroup& group : placement.groups) {
    groups_.push_back({static_cast<std::uint32_t>(groups_.size()), &group,
                       ExpertSlots(group.experts, group.slots, kHalfLife), std::vector<Slot>(group.slots),
                       std::vector<Part>(group.slots * group.parts.size())});
    most = std::max(most, group.experts);
  }
  is_used_.resize(most);
  number_.resize(most);
  used_.reserve(most);
  missing_.reserve(most);
}

bool ExpertCache::Group::is_read(std::uint32_t slot) const {
  return std::ranges::any_of(parts_of(slot), [](const Part& part) { return part.left > 0; });
}

bool ExpertCache::Group::is_raw(std::uint32_t slot) const {
  return std::ranges::any_of(parts_of(slot), &Part::raw);
}

Bytes ExpertCache::bytes_per_expert() {
  // An expert takes an entry of ExpertSlots, a slot's state, and a share of the lists of one step, which all
  // groups use in turn.
  constexpr std::size_t kParts = 8;
  // The last float is for heat().
  return Bytes{64 + sizeof(Slot) + kParts * (sizeof(Part) + sizeof(FreshRows)) + sizeof(float)} +
         ExpertLoans::bytes_per_expert();
}

std::byte* ExpertCache::slot_data(const plan::ExpertPart& part, std::uint32_t slot) const {
  return arena_ + part.place + slot * part.stride.value + part.first;
}

void ExpertCache::read(Group& group, std::uint32_t slot, std::uint32_t expert) {
  for (std::uint32_t part = 0; part < group.plan->parts.size(); ++part) read_part(group, part, slot, expert);
}

void ExpertCache::read_part(Group& group, std::uint32_t number, std::uint32_t slot, std::uint32_t expert) {
  const plan::ExpertPart& part = group.plan->parts[number];
  const model::TensorInfo& tensor = profile_.tensors[part.tensor];
  Part& state = group.part(slot, number);
  state.raw = true;
  reader_.queue({.file = tensor.file,
                 .offset = tensor.offset + expert * part.bytes.value,
                 .bytes = part.bytes,
                 .data = slot_data(part, slot),
                 .region = part.needs_bounce_buffer() ? nullptr : slot_data(part, slot) - part.first,
                 .left = &state.left});
}

FreshRows ExpertCache::rows_in(const Group& group, std::uint32_t number, std::uint32_t slot) const {
  const plan::ExpertPart& part = group.plan->parts[number];
  return {part.tensor, profile_.tensors[part.tensor].shape[1], slot_data(part, slot)};
}

/// Lists the parts of the slot that are not rearranged.
void ExpertCache::list_fresh(const Group& group, std::uint32_t slot) {
  for (std::uint32_t part = 0; part < group.plan->parts.size(); ++part) {
    if (group.parts_of(slot)[part].raw) fresh_.push_back(rows_in(group, part, slot));
  }
}

const std::string& ExpertCache::name_of(const Group& group) const {
  return profile_.tensors[group.plan->parts.front().tensor].name;
}

/// Tells the group how much its experts were used before, where that is known (`heat` may be null). Returns
/// its experts, the most used ones first.
std::vector<std::uint32_t> ExpertCache::warm(Group& group, const std::vector<float>* heat) {
  std::vector<std::uint32_t> order(group.plan->experts);
  std::iota(order.begin(), order.end(), 0U);
  if (heat == nullptr || heat->size() != order.size()) return order;
  for (const std::uint32_t expert : order) group.slots.set_worth(expert, (*heat)[expert]);
  std::ranges::stable_sort(order, std::greater{}, [&](std::uint32_t expert) { return (*heat)[expert]; });
  return order;
}

Status ExpertCache::fill(const Rearrange& rearrange, const std::function<bool(Bytes)>& progress,
                         const ExpertHeat& heat) {
  Bytes reported;
  for (Group& group : groups_) {
    const auto known = heat.find(name_of(group));
    const std::vector<std::uint32_t> order = warm(group, known != heat.end() ? &known->second : nullptr);
    for (std::uint32_t i = 0; i < group.slots.slots(); ++i) {
      const auto slot = group.slots.claim(order[i]);
      BRIMFUL_CHECK(slot == i);  // empty slots come first, in their order
      read(group, i, order[i]);
    }
    for (std::uint32_t slot = 0; slot < group.slots.slots(); ++slot) {
      for (const Part& part : group.parts_of(slot)) BRIMFUL_TRY_VOID(reader_.wait(part.left));
      fresh_.clear();
      list_fresh(group, slot);
      BRIMFUL_TRY_VOID(rearrange(fresh_));
      settle_parts(group, slot, group.parts_of(slot), loans_.pause());
      const Bytes so_far = reader_.bytes_read();
      if (progress && !progress(so_far - reported))
        return fail(ErrorCode::kCancelled, "loading was cancelled");
      reported = so_far;
    }
  }
  return {};
}

ExpertHeat ExpertCache::heat() const {
  ExpertHeat out;
  for (const Group& group : groups_) {
    std::vector<float>& worth = out[name_of(group)];
    for (std::uint32_t expert = 0; expert < group.plan->experts; ++expert)
      worth.push_back(static_cast<float>(group.slots.worth(expert)));
  }
  return out;
}

Status ExpertCache::begin(std::uint32_t number, const ggml_tensor& ids, std::span<const std::uint32_t> parts,
                          bool again) {
  Group& group = groups_[number];
  again = again && current_ == &group;
  const ExpertStatistics before = statistics_;
  BRIMFUL_TRY_VOID(find_used(group, ids));
  enter(group, again);
  if (in_slots_) {
    BRIMFUL_TRY_VOID(claim_slots(group));
  } else {
    pass_through(group, parts);
  }
  if (again) statistics_ = before;
  number_ids(group, ids);
  return {};
}

/// Begins a step of `group` that uses the experts in used_.
void ExpertCache::enter(Group& group, bool again) {
  current_ = &group;
  fresh_.clear();
  missed_ = 0;
  statistics_.used += used_.size();
  if (!again) group.slots.begin_step(used_);
  in_slots_ = used_.size() <= group.slots.slots();
}

Status ExpertCache::bring(std::uint32_t number, std::span<const std::uint32_t> experts,
                          const Rearrange& rearrange, const TakeBytes& take) {
  Group& group = groups_[number];
  const std::size_t slots = group.slots.slots();
  if (slots == 0) return bring_to_stage(group, experts, take);
  for (std::size_t done = 0; done < experts.size(); done += slots) {
    const std::span some = experts.subspan(done, std::min(slots, experts.size() - done));
    BRIMFUL_TRY_VOID(bring_to_slots(group, some, rearrange, take));
  }
  return {};
}

Status ExpertCache::bring_to_slots(Group& group, std::span<const std::uint32_t> experts,
                                   const Rearrange& rearrange, const TakeBytes& take) {
  for (const std::uint32_t expert : used_) is_used_[expert] = false;
  used_.assign(experts.begin(), experts.end());
  enter(group, false);
  BRIMFUL_TRY_VOID(claim_slots(group));
  BRIMFUL_TRY_VOID(finish());
  BRIMFUL_TRY_VOID(rearrange(fresh_));
  settle();
  for (const plan::ExpertPart& part : group.plan->parts) {
    for (const std::uint32_t expert : experts) {
      const std::span<const std::byte> data(slot_data(part, *group.slots.slot_of(expert)), part.bytes.value);
      BRIMFUL_TRY_VOID(take({part.tensor, expert, 0, data, true}));
    }
  }
  return {};
}

Status ExpertCache::bring_to_stage(Group& group, std::span<const std::uint32_t> experts,
                                   const TakeBytes& take) {
  std::vector<ExpertTiles::Expert> all;
  for (const std::uint32_t expert : experts) all.push_back({expert, std::nullopt});
  statistics_.used += experts.size();
  statistics_.missed += group.plan->expert * experts.size();
  std::vector<std::uint32_t> parts(group.plan->parts.size());
  std::iota(parts.begin(), parts.end(), 0U);
  tiles_.begin(*group.plan, parts, std::move(all));
  for (const plan::ExpertPart& part : group.plan->parts) {
    const std::uint64_t row_bytes = profile_.tensors[part.tensor].row_bytes().value;
    do {
      fresh_.clear();
      BRIMFUL_TRY(const ExpertRows rows, tiles_.next(fresh_));
      const auto first = static_cast<std::uint64_t>(rows.first_row);
      const std::span bytes(rows.data, static_cast<std::uint64_t>(rows.rows) * row_bytes);
      for (std::size_t i = 0; i < experts.size(); ++i) {
        const std::span<const std::byte> data(bytes.data() + i * rows.stride, bytes.size());
        BRIMFUL_TRY_VOID(take({part.tensor, experts[i], first * row_bytes, data, false}));
      }
    } while (!tiles_.part_ends());
  }
  return {};
}

Status ExpertCache::find_used(const Group& group, const ggml_tensor& ids) {
  for (const std::uint32_t expert : used_) is_used_[expert] = false;
  used_.clear();
  for (std::int64_t token = 0; token < ids.ne[1]; ++token) {
    for (std::int64_t i = 0; i < ids.ne[0]; ++i) {
      const auto expert = static_cast<std::uint32_t>(id_at(ids, i, token));
      if (expert >= group.plan->experts) {
        return fail(ErrorCode::kInternal, fmt::format("the router chose expert {} of {}",
                                                      id_at(ids, i, token), group.plan->experts));
      }
      if (is_used_[expert]) continue;
      is_used_[expert] = true;
      used_.push_back(expert);
    }
  }
  std::ranges::sort(used_);
  return {};
}

/// Holds the slots that must not go to another expert: those that are being read, because the kernel writes
/// to them, and those that are lent.
void ExpertCache::hold_busy(Group& group, const ExpertLoans::Pause& pause) {
  for (std::uint32_t slot = 0; slot < group.slots.slots(); ++slot)
    group.slots.hold(slot, group.is_read(slot) || loans_.is_lent(pause, group.number, slot));
}

/// Empties a slot that another expert has claimed.
void ExpertCache::evict(Group& group, std::uint32_t slot, const ExpertLoans::Pause& pause) {
  loans_.withdraw(pause, group.number, slot);
  if (group.state[slot].prefetched) statistics_.wasted += group.plan->expert;
  group.state[slot].prefetched = false;
}

/// Gives a slot to an expert of the step. Waits while all slots that the step does not use are busy.
Result<std::uint32_t> ExpertCache::claim(Group& group, std::uint32_t expert, ExpertLoans::Pause& pause) {
  auto slot = group.slots.claim(expert);
  while (!slot) {
    if (std::ranges::any_of(group.parts, [](const Part& part) { return part.left > 0; })) {
      pause.unlock();
      BRIMFUL_TRY_VOID(reader_.wait_for_one());
      pause.lock();
    } else {
      loans_.wait_for_return(pause);
    }
    hold_busy(group, pause);
    slot = group.slots.claim(expert);
  }
  evict(group, *slot, pause);
  return *slot;
}

Status ExpertCache::claim_slots(Group& group) {
  ExpertLoans::Pause pause = loans_.pause();
  hold_busy(group, pause);
  missing_.clear();
  for (const std::uint32_t expert : used_) {
    if (const auto slot = group.slots.slot_of(expert)) {
      // An expert that is there by prediction was missed, too: it was only read earlier.
      if (group.state[*slot].prefetched) {
        statistics_.missed += group.plan->expert;
        ++missed_;
      } else {
        ++statistics_.hits;
      }
      continue;
    }
    BRIMFUL_TRY_VOID(claim(group, expert, pause));
    statistics_.missed += group.plan->expert;
    missing_.push_back(expert);
    ++missed_;
  }
  // In the order in which the step uses the parts: it need not wait for the last ones to begin.
  for (std::uint32_t part = 0; part < group.plan->parts.size(); ++part) {
    for (const std::uint32_t expert : missing_) read_part(group, part, *group.slots.slot_of(expert), expert);
  }
  return {};
}

Status ExpertCache::finish() {
  if (!in_slots_) return {};
  Group& group = *current_;
  for (const std::uint32_t expert : used_) {
    const std::uint32_t slot = *group.slots.slot_of(expert);
    for (const Part& part : group.parts_of(slot)) BRIMFUL_TRY_VOID(reader_.wait(part.left));
    list_fresh(group, slot);
  }
  return {};
}

void ExpertCache::settle() {
  if (!in_slots_) return;
  const ExpertLoans::Pause pause = loans_.pause();
  for (const std::uint32_t expert : used_) {
    const std::uint32_t slot = *current_->slots.slot_of(expert);
    settle_parts(*current_, slot, current_->parts_of(slot), pause);
  }
}

/// Notes that `parts`, which belong to the slot, are rearranged.
void ExpertCache::settle_parts(Group& group, std::uint32_t slot, std::span<Part> parts,
                               const ExpertLoans::Pause& pause) {
  group.state[slot].prefetched = false;
  const bool was_raw = group.is_raw(slot);
  for (Part& part : parts) part.raw = false;
  if (was_raw && !group.is_raw(slot)) loans_.offer(pause, group.number, slot, *group.slots.expert_in(slot));
}

bool ExpertCache::complete() const {
  return std::ranges::none_of(used_, [&](std::uint32_t expert) {
    const std::uint32_t slot = *current_->slots.slot_of(expert);
    return current_->is_read(slot) || current_->is_raw(slot);
  });
}

std::optional<FreshRows> ExpertCache::fresh(std::uint32_t part, std::size_t position) const {
  if (!current_->part(slot_at(position), part).raw) return std::nullopt;
  return rows_in(*current_, part, slot_at(position));
}

void ExpertCache::settle(std::uint32_t part, std::size_t position) {
  const std::uint32_t slot = slot_at(position);
  settle_parts(*current_, slot, std::span(&current_->part(slot, part), 1), loans_.pause());
}

void ExpertCache::pass_through(Group& group, std::span<const std::uint32_t> parts) {
  std::vector<ExpertTiles::Expert> experts;
  for (const std::uint32_t expert : used_) {
    const auto slot = group.slots.slot_of(expert);
    const bool ready = slot && !group.is_raw(*slot);
    experts.push_back({expert, ready ? slot : std::nullopt});
    if (ready) {
      ++statistics_.hits;
    } else {
      statistics_.missed += group.plan->expert;
    }
  }
  tiles_.begin(*group.plan, parts, std::move(experts));
}

void ExpertCache::number_ids(const Group& group, const ggml_tensor& ids) {
  for (std::size_t i = 0; i < used_.size(); ++i) {
    number_[used_[i]] =
        static_cast<std::int32_t>(in_slots_ ? *group.slots.slot_of(used_[i]) : static_cast<std::uint32_t>(i));
  }
  std::int32_t* out = ids_;
  for (std::int64_t token = 0; token < ids.ne[1]; ++token) {
    for (std::int64_t i = 0; i < ids.ne[0]; ++i)
      *out++ = number_[static_cast<std::uint32_t>(id_at(ids, i, token))];
  }
}

ExpertRows ExpertCache::rows(std::uint32_t part) const {
  const plan::ExpertPart& plan = current_->plan->parts[part];
  return {slot_data(plan, 0), plan.stride.value, current_->plan->slots, 0,
          profile_.tensors[plan.tensor].shape[1]};
}

std::size_t ExpertCache::prefetch(std::uint32_t number, std::span<const std::uint32_t> experts) {
  Group& group = groups_[number];
  const ExpertLoans::Pause pause = loans_.pause();
  hold_busy(group, pause);
  for (const std::uint32_t expert : experts) {
    if (const auto slot = group.slots.slot_of(expert)) group.slots.hold(*slot, true);
  }
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const std::uint32_t expert = experts[i];
    if (group.slots.slot_of(expert)) continue;
    const auto slot = group.slots.claim(expert);
    if (!slot) return i;
    evict(group, *slot, pause);
    group.slots.hold(*slot, true);
    group.state[*slot].prefetched = true;
    ++statistics_.prefetched;
    statistics_.prefetched_bytes += group.plan->expert;
    read(group, *slot, expert);
  }
  return experts.size();
}

bool ExpertCache::is_late(std::uint32_t number) const {
  const Group& group = groups_[number];
  for (std::uint32_t slot = 0; slot < group.slots.slots(); ++slot) {
    if (group.state[slot].prefetched && group.is_read(slot)) return true;
  }
  return false;
}

void ExpertCache::count_guesses(std::uint64_t guesses, std::uint64_t right) {
  statistics_.guesses += guesses;
  statistics_.right_guesses += right;
}

void ExpertCache::abandon() {
  reader_.drain();
  for (Group& group : groups_) {
    for (std::uint32_t slot = 0; slot < group.slots.slots(); ++slot) {
      if (!group.is_raw(slot)) continue;
      group.slots.empty(slot);
      group.state[slot] = Slot{};
      std::ranges::fill(group.parts_of(slot), Part{});
    }
  }
}

ExpertStatistics ExpertCache::statistics() const {
  ExpertStatistics out = statistics_;
  out.read = reader_.bytes_read();
  return out;
}

}  // namespace brimful::tier

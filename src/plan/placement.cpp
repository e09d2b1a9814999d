#include "plan/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "plan/kernel_rows.h"

namespace brimful::plan {
namespace {

// Largest unit size that is tried, in bytes.
constexpr std::uint64_t kLargestUnit = 8ULL << 20;
// Smallest unit size that is tried, in bytes.
constexpr std::uint64_t kSmallestUnit = 16ULL << 10;
// The first unit size that is tried is the size of all weights divided by this, within the two limits.
constexpr std::uint64_t kUnitsPerModel = 256;
// The ring has room for this many of the largest streamed unit, or for 2 where that is very large.
constexpr std::uint64_t kRingUnits = 5;

/// The units of a pass, and what is decided about each before a budget is looked at.
struct Candidates {
  std::vector<Unit> units;
  // For each unit: whether it must be resident.
  std::vector<bool> pinned;
};

/// Adds the units of one tensor: rows of at most about `unit_bytes`, or the whole tensor if it is not
/// `splittable`.
void add_units(const model::TensorInfo& tensor, std::uint32_t index, bool splittable,
               std::uint64_t unit_bytes, std::vector<Unit>& out) {
  const std::int64_t rows = tensor.rows();
  const std::uint64_t row_bytes = tensor.row_bytes().value;
  std::int64_t step = rows;
  if (splittable && tensor.bytes.value > unit_bytes) {
    const auto parts = static_cast<std::int64_t>((tensor.bytes.value + unit_bytes - 1) / unit_bytes);
    step = (rows + parts - 1) / parts;
    step = (step + kRowStep - 1) / kRowStep * kRowStep;
    if (rows % kKernelRows != 0) {
      const auto other_kernel = [rows](std::int64_t part) { return part != 0 && part % kKernelRows == 0; };
      while (other_kernel(step) || other_kernel(rows % step)) ++step;
    }
  }
  for (std::int64_t row = 0; row < rows; row += step) {
    const std::int64_t count = std::min(step, rows - row);
    out.push_back(Unit{.tensor = index,
                       .first_row = row,
                       .rows = count,
                       .file = tensor.file,
                       .offset = tensor.offset + static_cast<std::uint64_t>(row) * row_bytes,
                       .bytes = Bytes{static_cast<std::uint64_t>(count) * row_bytes},
                       .resident = false,
                       .place = 0});
  }
}

/// Makes the units of all tensors in `uses`. With `with_gathered`, also of those that are only gathered. With
/// `keep_drafts`, what drafts use is pinned.
Candidates make_candidates(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                           std::uint64_t unit_bytes, bool with_gathered, bool keep_drafts = false) {
  Candidates out;
  for (const TensorUse& use : uses) {
    if (!use.by_rows && !use.whole && !with_gathered) continue;
    const model::TensorInfo& tensor = profile.tensors[use.tensor];
    const bool splittable = use.by_rows && !use.whole && tensor.shape[2] == 1 && tensor.shape[3] == 1;
    add_units(tensor, use.tensor, splittable, unit_bytes, out.units);
    // Norms and biases stay: there is little to gain, and reading them would be all latency.
    out.pinned.resize(out.units.size(), tensor.rows() == 1 || (keep_drafts && use.for_drafts));
  }
  return out;
}

/// The indices of `units`, in the order of the files.
std::vector<std::size_t> file_order(const std::vector<Unit>& units) {
  std::vector<std::size_t> order(units.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(units[a].file, units[a].offset) < std::pair(units[b].file, units[b].offset);
  });
  return order;
}

/// Walks the resident units in file order, and joins neighbours that share or touch a block. Sets the place
/// of each, from `first_place` on. Returns the bytes that the extents take. `extents` may be null when only
/// the size is wanted.
Bytes lay_out(std::vector<Unit>& units, const std::vector<std::size_t>& order, Bytes first_place,
              std::vector<Extent>* extents) {
  Bytes total;
  std::optional<Extent> open;
  const auto close = [&] {
    if (!open) return;
    total += open->size;
    if (extents != nullptr) extents->push_back(*open);
    open.reset();
  };
  for (const std::size_t i : order) {
    Unit& unit = units[i];
    if (!unit.resident) continue;
    const std::uint64_t begin = unit.span_begin();
    const std::uint64_t end = begin + unit.span().value;
    if (open && (open->file != unit.file || begin > open->offset + open->size.value)) close();
    if (!open) open = Extent{unit.file, begin, Bytes{}, first_place.value + total.value};
    open->size = Bytes{std::max(open->offset + open->size.value, end) - open->offset};
    unit.place = open->place + (unit.offset - open->offset);
  }
  close();
  return total;
}

/// Makes some units stream, spread evenly over the pass: they have the share `f` of the bytes that are not
/// pinned.
void spread(Candidates& candidates, double f) {
  double owed = 0;
  for (std::size_t i = 0; i < candidates.units.size(); ++i) {
    Unit& unit = candidates.units[i];
    unit.resident = true;
    if (candidates.pinned[i]) continue;
    const auto bytes = static_cast<double>(unit.bytes.value);
    owed += f * bytes;
    if (owed < bytes / 2) continue;
    owed -= bytes;
    unit.resident = false;
  }
}

/// Gives what is left of the budget to streamed units, largest first.
void fill(std::vector<Unit>& units, const std::vector<std::size_t>& order, Bytes room) {
  std::vector<std::size_t> by_size;
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (!units[i].resident) by_size.push_back(i);
  }
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](std::size_t a, std::size_t b) { return units[a].bytes > units[b].bytes; });
  Bytes used = lay_out(units, order, Bytes{}, nullptr);
  for (const std::size_t i : by_size) {
    // A neighbour may share blocks with the unit, so only the layout knows what it costs: between its span
    // minus two blocks, and its span.
    if (used + units[i].bytes > room + Bytes{2 * kBlock}) continue;
    units[i].resident = true;
    const Bytes with = lay_out(units, order, Bytes{}, nullptr);
    if (with > room) {
      units[i].resident = false;
    } else {
      used = with;
    }
  }
}

/// Makes the placement when it is decided which units are resident.
Placement finish(std::vector<Unit> units, const std::vector<std::size_t>& order, Bytes ring) {
  Placement out;
  out.ring = ring;
  lay_out(units, order, ring, &out.extents);
  for (const Unit& unit : units) {
    if (unit.resident) {
      out.resident += unit.bytes;
    } else {
      out.streamed_per_pass += unit.bytes;
      out.largest_streamed = std::max(out.largest_streamed, unit.span());
    }
  }
  out.units = std::move(units);
  return out;
}

/// The unit size to try first.
std::uint64_t first_unit_bytes(const model::ModelProfile& profile) {
  return std::clamp(profile.weight_bytes().value / kUnitsPerModel, kSmallestUnit, kLargestUnit);
}

/// Places everything as resident. Unset if that does not fit.
std::optional<Placement> place_whole(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                     Bytes budget, Bytes per_unit, bool with_gathered) {
  Candidates all = make_candidates(profile, uses, UINT64_MAX, with_gathered);
  for (Unit& unit : all.units) unit.resident = true;
  const auto order = file_order(all.units);
  if (lay_out(all.units, order, Bytes{}, nullptr) + per_unit * all.units.size() > budget) return std::nullopt;
  return finish(std::move(all.units), order, Bytes{});
}

/// A unit size to try, whether what drafts use must stay resident, and whether tensors that cannot be split
/// must.
struct Attempt {
  std::uint64_t unit_bytes;
  bool keep_drafts;
  bool pin_large;
};

/// What streaming with one unit size needs.
struct Streaming {
  Candidates candidates;
  Bytes ring;
  Bytes bookkeeping;
  // Bytes of the ring, the bookkeeping and the pinned units.
  Bytes least;
};

/// Finds out what must stay resident with units of this size, and the ring that the rest needs.
Streaming prepare_streaming(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                            Attempt attempt, Bytes per_unit) {
  const auto [unit_bytes, keep_drafts, pin_large] = attempt;
  Streaming out{make_candidates(profile, uses, unit_bytes, false, keep_drafts), {}, {}, {}};
  Candidates& c = out.candidates;
  // A tensor that cannot be split would stall a small ring: it stays, unless there is no room for it.
  for (std::size_t i = 0; pin_large && i < c.units.size(); ++i) {
    if (c.units[i].bytes.value > 2 * unit_bytes) c.pinned[i] = true;
  }
  Bytes largest;
  for (std::size_t i = 0; i < c.units.size(); ++i) {
    c.units[i].resident = c.pinned[i];
    if (!c.pinned[i]) largest = std::max(largest, c.units[i].span());
  }
  const std::uint64_t slots = largest.value > 2 * kLargestUnit ? 2 : kRingUnits;
  out.ring = largest * slots;
  out.bookkeeping = per_unit * c.units.size();
  out.least = out.ring + out.bookkeeping + lay_out(c.units, file_order(c.units), Bytes{}, nullptr);
  return out;
}

/// A lower bound for the bookkeeping of all units of this size. It is known before any unit is made.
Bytes bookkeeping_at_least(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                           std::uint64_t unit_bytes, Bytes per_unit) {
  std::uint64_t units = 0;
  for (const TensorUse& use : uses) {
    if (!use.by_rows || use.whole) continue;
    const model::TensorInfo& tensor = profile.tensors[use.tensor];
    const std::uint64_t largest =
        unit_bytes + tensor.row_bytes().value * static_cast<std::uint64_t>(kRowStep);
    units += tensor.bytes.value / largest;
  }
  return per_unit * units;
}

/// The unit sizes to try, the best first.
std::vector<Attempt> attempts(const model::ModelProfile& profile, const std::vector<TensorUse>& uses) {
  std::vector<Attempt> out;
  const auto add = [&](bool keep_drafts, bool pin_large) {
    for (std::uint64_t bytes = first_unit_bytes(profile);; bytes /= 2) {
      out.push_back(Attempt{bytes, keep_drafts, pin_large});
      if (bytes / 2 < kSmallestUnit) break;
    }
  };
  if (std::ranges::any_of(uses, &TensorUse::for_drafts)) {
    add(true, true);
    add(true, false);
  }
  add(false, true);
  add(false, false);
  return out;
}

std::vector<TensorUse> without_groups(const std::vector<TensorUse>& uses) {
  std::vector<TensorUse> out;
  std::ranges::copy_if(uses, std::back_inserter(out), [](const TensorUse& u) { return !u.expert_group; });
  return out;
}

Bytes bookkeeping_of(const std::vector<ExpertGroup>& groups, Bookkeeping costs) {
  Bytes total;
  for (const ExpertGroup& group : groups) {
    total += costs.per_unit * group.parts.size() + costs.per_expert * group.experts;
  }
  return total;
}

/// Places the weights that every pass uses as a whole. All are resident if they fit; otherwise some stream.
/// Unset where not even the smallest units fit.
std::optional<Placement> place_dense(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                                     Bytes budget, Bytes per_unit) {
  if (auto whole = place_whole(profile, uses, budget, per_unit, false)) return whole;
  for (const Attempt& attempt : attempts(profile, uses)) {
    Streaming s = prepare_streaming(profile, uses, attempt, per_unit);
    if (s.least > budget) continue;
    const Bytes room = budget - s.ring - s.bookkeeping;
    const auto order = file_order(s.candidates.units);
    double low = 0;
    double high = 1;
    for (int i = 0; i < 24; ++i) {
      const double f = (low + high) / 2;
      spread(s.candidates, f);
      (lay_out(s.candidates.units, order, Bytes{}, nullptr) > room ? low : high) = f;
    }
    spread(s.candidates, high);
    if (lay_out(s.candidates.units, order, Bytes{}, nullptr) > room) {  // even the last few bytes count here
      for (std::size_t i = 0; i < s.candidates.units.size(); ++i) {
        s.candidates.units[i].resident = s.candidates.pinned[i];
      }
    }
    fill(s.candidates.units, order, room);
    return finish(std::move(s.candidates.units), order, s.ring);
  }
  return std::nullopt;
}

}  // namespace

Bytes Placement::slot_bytes() const {
  Bytes total;
  for (const ExpertGroup& group : groups) total += group.slot_bytes();
  return total;
}

Bytes Placement::arena_bytes() const {
  Bytes total = ring + slot_bytes() + stage + bounce_buffers;
  for (const Extent& extent : extents) total += extent.size;
  return total;
}

Bytes Placement::bookkeeping(Bookkeeping costs) const {
  return costs.per_unit * units.size() + bookkeeping_of(groups, costs);
}

Result<Placement> place(const model::ModelProfile& profile, const std::vector<TensorUse>& uses, Bytes budget,
                        Bookkeeping costs) {
  for (const bool with_gathered : {true, false}) {
    if (auto whole = place_whole(profile, uses, budget, costs.per_unit, with_gathered)) {
      return std::move(*whole);
    }
  }
  std::vector<ExpertGroup> groups = find_expert_groups(profile, uses);
  const Bytes stage = stage_bytes(profile, groups);
  const Bytes bounce_buffers = bounce_bytes(groups);
  const Bytes fixed = stage + bounce_buffers + bookkeeping_of(groups, costs);
  auto dense = fixed > budget ? std::nullopt
                              : place_dense(profile, without_groups(uses), budget - fixed, costs.per_unit);
  if (!dense) {
    const Bytes least = smallest_budget(profile, uses, costs);
    return fail(ErrorCode::kInfeasible,
                fmt::format("the weights need at least {} and have {}: {} are missing", format_bytes(least),
                            format_bytes(budget), format_bytes(least - budget)));
  }
  const Bytes left =
      saturating_sub(budget - fixed, dense->arena_bytes() + costs.per_unit * dense->units.size());
  const std::uint64_t place = dense->arena_bytes().value;
  dense->stage_place = place + share_out(groups, left, place).value;
  dense->bounce_place = dense->stage_place + stage.value;
  dense->groups = std::move(groups);
  dense->stage = stage;
  dense->bounce_buffers = bounce_buffers;
  return std::move(*dense);
}

Bytes smallest_budget(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
                      Bookkeeping costs) {
  const auto all_resident = [&](const std::vector<TensorUse>& some) {
    Candidates all = make_candidates(profile, some, UINT64_MAX, false);
    for (Unit& unit : all.units) unit.resident = true;
    return lay_out(all.units, file_order(all.units), Bytes{}, nullptr) + costs.per_unit * all.units.size();
  };
  const std::vector<TensorUse> dense = without_groups(uses);
  Bytes least = all_resident(dense);
  for (const Attempt& attempt : attempts(profile, dense)) {
    if (bookkeeping_at_least(profile, dense, attempt.unit_bytes, costs.per_unit) >= least) continue;
    least = std::min(least, prepare_streaming(profile, dense, attempt, costs.per_unit).least);
  }
  const std::vector<ExpertGroup> groups = find_expert_groups(profile, uses);
  return std::min(all_resident(uses), least + stage_bytes(profile, groups) + bounce_bytes(groups) +
                                          bookkeeping_of(groups, costs));
}

}  // namespace brimful::plan

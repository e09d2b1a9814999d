#include "quantise/choose.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace brimful::quantise {
namespace {

using Choice = std::vector<std::size_t>;

constexpr int kRounds = 12;
constexpr int kHalvings = 80;
constexpr int kMostExchanges = 400;
constexpr std::size_t kMostRestarts = 256;
constexpr int kExchangesAfterRestart = 4;

class Chooser {
 public:
  Chooser(const std::vector<Item>& items, const std::vector<double>& limits)
      : items_(items), limits_(limits), prices_(limits.size(), 0.0) {}

  std::optional<Choice> choose(double fill) {
    if (!follow_prices()) return std::nullopt;
    while (upgrade_one()) {
    }
    for (int i = 0; i < kMostExchanges && exchange(); ++i) {
    }
    restart();
    for (int i = 0; i < kMostExchanges && used_[0] < fill * limits_[0] && fill_more(fill); ++i) {
    }
    return choice_;
  }

 private:
  [[nodiscard]] double cost(std::size_t item, std::size_t option, std::size_t limit) const {
    return items_[item].shares[limit] * static_cast<double>(items_[item].options[option].bytes);
  }
  [[nodiscard]] double loss(std::size_t item, std::size_t option) const {
    return items_[item].options[option].loss;
  }

  /// The best choice at the present prices of a byte of each limit.
  void choose_at_prices() {
    choice_.assign(items_.size(), 0);
    for (std::size_t i = 0; i < items_.size(); ++i) {
      double best = INFINITY;
      double least = INFINITY;
      for (std::size_t o = 0; o < items_[i].options.size(); ++o) {
        double value = loss(i, o);
        for (std::size_t k = 0; k < limits_.size(); ++k) value += prices_[k] * cost(i, o, k);
        const auto bytes = static_cast<double>(items_[i].options[o].bytes);
        if (value < best || (value == best && bytes < least)) {
          best = value;
          least = bytes;
          choice_[i] = o;
        }
      }
    }
    count();
  }

  void count() {
    used_.assign(limits_.size(), 0.0);
    for (std::size_t i = 0; i < items_.size(); ++i) {
      for (std::size_t k = 0; k < limits_.size(); ++k) used_[k] += cost(i, choice_[i], k);
    }
  }

  [[nodiscard]] bool keeps_limits() const {
    for (std::size_t k = 0; k < limits_.size(); ++k) {
      if (used_[k] > limits_[k]) return false;
    }
    return true;
  }

  /// Finds the smallest prices at which the best choice keeps every limit, one limit after the other. Ends
  /// with such a choice, or returns false when there is none.
  bool follow_prices() {
    for (int round = 0; round < kRounds; ++round) {
      for (std::size_t k = 0; k < limits_.size(); ++k) {
        double low = 1e-30;
        double high = 1e6;
        prices_[k] = 0;
        choose_at_prices();
        if (used_[k] <= limits_[k]) continue;
        for (int i = 0; i < kHalvings; ++i) {
          prices_[k] = std::sqrt(low * high);
          choose_at_prices();
          (used_[k] > limits_[k] ? low : high) = prices_[k];
        }
        prices_[k] = high;
      }
      choose_at_prices();
      if (keeps_limits()) return true;
    }
    // Where the limits pull against each other, the smallest options decide whether there is any choice.
    for (std::size_t i = 0; i < items_.size(); ++i) {
      choice_[i] = 0;
      for (std::size_t o = 1; o < items_[i].options.size(); ++o) {
        if (items_[i].options[o].bytes < items_[i].options[choice_[i]].bytes) choice_[i] = o;
      }
    }
    count();
    return keeps_limits();
  }

  [[nodiscard]] bool fits(std::size_t i, std::size_t o) const {
    for (std::size_t k = 0; k < limits_.size(); ++k) {
      if (used_[k] - cost(i, choice_[i], k) + cost(i, o, k) > limits_[k]) return false;
    }
    return true;
  }
  [[nodiscard]] bool fits(std::size_t i, std::size_t o, std::size_t j, std::size_t p) const {
    for (std::size_t k = 0; k < limits_.size(); ++k) {
      if (used_[k] - cost(i, choice_[i], k) + cost(i, o, k) - cost(j, choice_[j], k) + cost(j, p, k) >
          limits_[k])
        return false;
    }
    return true;
  }

  void take(std::size_t i, std::size_t o) {
    for (std::size_t k = 0; k < limits_.size(); ++k) used_[k] += cost(i, o, k) - cost(i, choice_[i], k);
    choice_[i] = o;
  }

  /// Takes the one change that lowers the loss most.
  bool upgrade_one() {
    double best = 0;
    std::size_t item = 0;
    std::size_t option = 0;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      for (std::size_t o = 0; o < items_[i].options.size(); ++o) {
        const double gain = loss(i, choice_[i]) - loss(i, o);
        if (gain > best && fits(i, o)) {
          best = gain;
          item = i;
          option = o;
        }
      }
    }
    if (best <= 0) return false;
    take(item, option);
    return true;
  }

  /// Calls `visit` with each pair of changes of two items that keeps the limits, and with what the pair adds
  /// to the loss.
  template <typename Visit>
  void for_each_pair(const Visit& visit) const {
    for (std::size_t i = 0; i < items_.size(); ++i) {
      for (std::size_t o = 0; o < items_[i].options.size(); ++o) {
        if (o == choice_[i]) continue;
        const double first = loss(i, o) - loss(i, choice_[i]);
        for (std::size_t j = i + 1; j < items_.size(); ++j) {
          for (std::size_t p = 0; p < items_[j].options.size(); ++p) {
            if (p != choice_[j]) visit(i, o, j, p, first + loss(j, p) - loss(j, choice_[j]));
          }
        }
      }
    }
  }

  /// Takes the pair of changes that lowers the loss most.
  bool exchange() {
    double best = -1e-12 * (1 + std::abs(whole_loss()));
    std::optional<std::array<std::size_t, 4>> found;
    for_each_pair([&](std::size_t i, std::size_t o, std::size_t j, std::size_t p, double added) {
      if (added < best && fits(i, o, j, p)) {
        best = added;
        found = {i, o, j, p};
      }
    });
    if (!found) return false;
    take((*found)[0], (*found)[1]);
    take((*found)[2], (*found)[3]);
    return true;
  }

  /// Tries what follows when one item gets another option, whatever it costs, and the others give way and
  /// fill up again. Few items leave gaps that no exchange of two closes; with many, there is nothing to gain.
  void restart() {
    std::size_t options = 0;
    for (const Item& item : items_) options += item.options.size();
    if (options > kMostRestarts) return;
    Choice best = choice_;
    double least = whole_loss();
    for (std::size_t i = 0; i < items_.size(); ++i) {
      for (std::size_t o = 0; o < items_[i].options.size(); ++o) {
        choice_ = best;
        if (choice_[i] == o) continue;
        choice_[i] = o;
        count();
        if (!give_way(i)) continue;
        while (upgrade_one()) {
        }
        for (int k = 0; k < kExchangesAfterRestart && exchange(); ++k) {
        }
        if (const double loss = whole_loss(); loss < least * (1 - 1e-9)) {
          least = loss;
          best = choice_;
        }
      }
    }
    choice_ = best;
    count();
  }

  /// Lets items other than `kept` give up bytes, where a byte costs the least loss, until the limits hold.
  bool give_way(std::size_t kept) {
    while (!keeps_limits()) {
      double best = INFINITY;
      std::size_t item = 0;
      std::size_t option = 0;
      for (std::size_t i = 0; i < items_.size(); ++i) {
        for (std::size_t o = 0; i != kept && o < items_[i].options.size(); ++o) {
          double saved = 0;
          for (std::size_t k = 0; k < limits_.size(); ++k) {
            if (used_[k] > limits_[k]) saved += cost(i, choice_[i], k) - cost(i, o, k);
          }
          const double price = saved > 0 ? (loss(i, o) - loss(i, choice_[i])) / saved : INFINITY;
          if (price < best) {
            best = price;
            item = i;
            option = o;
          }
        }
      }
      if (std::isinf(best)) return false;
      take(item, option);
    }
    return true;
  }

  /// Takes the change of one item, or of two, that uses more of the first limit at the least loss: enough of
  /// it where one can.
  bool fill_more(double fill) {
    double best = INFINITY;
    double most = used_[0];
    std::optional<std::array<std::size_t, 4>> found;
    const auto consider = [&](double used, double added, std::array<std::size_t, 4> changes) {
      const double enough = fill * limits_[0];
      if (used >= enough ? (most < enough || added < best) : (most < enough && used > most)) {
        best = added;
        most = used;
        found = changes;
      }
    };
    for (std::size_t i = 0; i < items_.size(); ++i) {
      for (std::size_t o = 0; o < items_[i].options.size(); ++o) {
        if (o != choice_[i] && fits(i, o))
          consider(used_[0] + cost(i, o, 0) - cost(i, choice_[i], 0), loss(i, o) - loss(i, choice_[i]),
                   {i, o, i, o});
      }
    }
    for_each_pair([&](std::size_t i, std::size_t o, std::size_t j, std::size_t p, double added) {
      if (fits(i, o, j, p))
        consider(used_[0] + cost(i, o, 0) - cost(i, choice_[i], 0) + cost(j, p, 0) - cost(j, choice_[j], 0),
                 added, {i, o, j, p});
    });
    if (!found) return false;
    take((*found)[0], (*found)[1]);
    take((*found)[2], (*found)[3]);
    return true;
  }

  [[nodiscard]] double whole_loss() const { return total_loss(items_, choice_); }

  const std::vector<Item>& items_;
  const std::vector<double>& limits_;
  std::vector<double> prices_;
  Choice choice_;
  std::vector<double> used_;
};

}  // namespace

double counted_bytes(const std::vector<Item>& items, const Choice& choice, std::size_t limit) {
  double out = 0;
  for (std::size_t i = 0; i < items.size(); ++i)
    out += items[i].shares[limit] * static_cast<double>(items[i].options[choice[i]].bytes);
  return out;
}

double total_loss(const std::vector<Item>& items, const Choice& choice) {
  double out = 0;
  for (std::size_t i = 0; i < items.size(); ++i) out += items[i].options[choice[i]].loss;
  return out;
}

Result<Choice> choose(const std::vector<Item>& items, const std::vector<double>& limits, double fill) {
  auto out = Chooser(items, limits).choose(fill);
  if (!out) return fail(ErrorCode::kInfeasible, "the smallest types do not keep the limits");
  return std::move(*out);
}

}  // namespace brimful::quantise

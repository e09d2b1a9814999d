#include "tier/experts/expert_loans.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

namespace brimful::tier {
namespace {

constexpr std::uint64_t kExpert = 100;  // bytes
constexpr std::uint32_t kExperts = 8;
constexpr std::uint32_t kSlots = 3;

/// A weight with eight experts, of which three have slots. The bytes of an expert are its number.
class Loans : public testing::Test {
 protected:
  Loans() {
    profile_.tensors.push_back({.name = "experts", .file = 1, .offset = 5000});
    placement_.groups.push_back(
        {.parts = {{.tensor = 0, .bytes = Bytes{kExpert}, .stride = Bytes{128}, .first = 7, .place = 40}},
         .experts = kExperts,
         .slots = kSlots});
    loans_ = std::make_unique<ExpertLoans>(profile_, placement_, arena_.data());
  }
  std::byte* data(std::uint32_t slot) { return arena_.data() + 40 + slot * 128 + 7; }
  void put(const ExpertLoans::Pause& pause, std::uint32_t slot, std::uint32_t expert) {
    std::fill_n(data(slot), kExpert, static_cast<std::byte>(expert));
    loans_->offer(pause, 0, slot, expert);
  }
  static std::uint64_t offset_of(std::uint32_t expert) { return 5000 + expert * kExpert; }

  model::ModelProfile profile_;
  plan::Placement placement_;
  std::vector<std::byte> arena_ = std::vector<std::byte>(1000);
  std::unique_ptr<ExpertLoans> loans_;
};

TEST_F(Loans, AreOfWholeOrPartsOfOneExpertThatIsThere) {
  put(loans_->pause(), 2, 5);
  const auto loan = loans_->lend(1, offset_of(5) + 10, 90);
  ASSERT_TRUE(loan);
  EXPECT_EQ(loan->bytes.data, data(2) + 10);
  EXPECT_EQ(loan->bytes.tensor, 0U);
  EXPECT_EQ(loan->bytes.offset, 5 * kExpert + 10);
  EXPECT_FALSE(loans_->lend(1, offset_of(5) + 10, 91)) << "it reaches into the next expert";
  EXPECT_FALSE(loans_->lend(1, offset_of(4), 10)) << "it has no slot";
  EXPECT_FALSE(loans_->lend(0, offset_of(5), 10)) << "another file";
  EXPECT_FALSE(loans_->lend(1, 4990, 5)) << "before the weight";
  EXPECT_FALSE(loans_->lend(1, offset_of(kExperts), 5)) << "behind it";
  loans_->give_back(*loan);
}

TEST_F(Loans, EndWithTheExpert) {
  put(loans_->pause(), 0, 1);
  const auto loan = loans_->lend(1, offset_of(1), kExpert);
  ASSERT_TRUE(loan);
  EXPECT_TRUE(loans_->is_lent(loans_->pause(), 0, 0));
  EXPECT_FALSE(loans_->is_lent(loans_->pause(), 0, 1));
  loans_->give_back(*loan);
  EXPECT_FALSE(loans_->is_lent(loans_->pause(), 0, 0));
  loans_->withdraw(loans_->pause(), 0, 0);
  EXPECT_FALSE(loans_->lend(1, offset_of(1), kExpert));
  put(loans_->pause(), 0, 6);
  EXPECT_FALSE(loans_->lend(1, offset_of(1), kExpert));
  EXPECT_TRUE(loans_->lend(1, offset_of(6), kExpert));
}

// One thread gives the slots to other experts all the time, as the cache does; another one reads what it
// borrows.
TEST_F(Loans, StayAsTheyAreWhileAnotherThreadReadsThem) {
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> borrowed = 0;
  std::jthread borrower([&] {
    std::mt19937 random(1);
    while (!stop) {
      const std::uint32_t expert = random() % kExperts;
      const auto loan = loans_->lend(1, offset_of(expert), kExpert);
      if (!loan) continue;
      ++borrowed;
      for (std::uint64_t i = 0; i < kExpert; ++i)
        if (loan->bytes.data[i] != static_cast<std::byte>(expert))
          ADD_FAILURE() << "expert " << expert << " was overwritten";
      loans_->give_back(*loan);
    }
  });
  std::mt19937 random(2);
  std::vector<std::uint32_t> there(kSlots, kExperts);
  for (int i = 0; i < 20'000 || borrowed < 100; ++i) {
    const std::uint32_t slot = random() % kSlots;
    const std::uint32_t expert = random() % kExperts;
    if (std::ranges::find(there, expert) != there.end()) continue;
    ExpertLoans::Pause pause = loans_->pause();
    while (loans_->is_lent(pause, 0, slot)) loans_->wait_for_return(pause);
    loans_->withdraw(pause, 0, slot);
    pause.unlock();
    std::fill_n(data(slot), kExpert, std::byte{0xFF});  // the read of the next one
    put(loans_->pause(), slot, expert);
    there[slot] = expert;
  }
  stop = true;
  borrower.join();
}

}  // namespace
}  // namespace brimful::tier

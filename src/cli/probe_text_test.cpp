#include "cli/probe_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(MachineText, SaysWhoHoldsTheMemoryOfACard) {
  hardware::Profile machine;
  hardware::Gpu& gpu = machine.gpus.emplace_back(
      hardware::Gpu{.name = "a card", .total = kGiB * 8, .free = kGiB * 6, .used = kGiB * 2});
  EXPECT_THAT(
      machine_text(machine),
      HasSubstr("GPU    a card: 8.00 GiB of VRAM, 6.00 GiB free; programs and driver hold 2.00 GiB\n"));
  gpu.reserved = kMiB * 512;
  EXPECT_THAT(machine_text(machine),
              HasSubstr("6.00 GiB free; programs hold 1.50 GiB; the driver keeps 512.0 MiB\n"));
  gpu.reserved = gpu.used;
  EXPECT_THAT(machine_text(machine), Not(HasSubstr("programs")));
}

}  // namespace
}  // namespace brimful::cli

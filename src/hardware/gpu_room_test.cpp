#include "hardware/gpu_room.h"

#include <gtest/gtest.h>

namespace brimful::hardware {
namespace {

TEST(GpuRoom, WhatIsReservedIsHeldByNoProgram) {
  Gpu gpu{.total = kGiB * 8, .free = kGiB * 6, .used = kGiB * 2};
  EXPECT_EQ(held_by_programs(gpu), kGiB * 2);
  gpu.reserved = kMiB * 300;
  EXPECT_EQ(held_by_programs(gpu), kGiB * 2 - kMiB * 300);
}

TEST(GpuRoom, ABudgetWithoutASizeLeavesAReserve) {
  Gpu gpu{.total = kGiB * 8, .free = kGiB * 6, .used = kGiB * 2};
  EXPECT_EQ(automatic_budget(gpu), kGiB * 6 - kMiB * 256);
  gpu.draws = true;
  EXPECT_EQ(reserve_for_others(gpu), kMiB * 512);
  EXPECT_EQ(automatic_budget(gpu), kGiB * 6 - kMiB * 512) << "the desktop grows with its windows";
  gpu.free = kGiB * 6 - kMiB * 100;
  EXPECT_EQ(automatic_budget(gpu), kGiB * 6 - kMiB * 640) << "in steps of 128 MiB";
  gpu.free = kMiB * 500;
  EXPECT_EQ(automatic_budget(gpu), Bytes{});
}

}  // namespace
}  // namespace brimful::hardware

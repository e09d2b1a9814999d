#include "plan/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "plan/advice.h"
#include "plan/requantise.h"
#include "plan/shared_forecast.h"
#include "plan/transfer_policy.h"

namespace brimful::plan {
namespace {

hardware::Profile desktop() {
  hardware::Profile machine{.name = "a desktop"};
  machine.cpu = {.model = "CPU", .cores = 8, .threads = 16, .instruction_sets = {"AVX2"}};
  machine.ram.total = Bytes{64} * kGiB.value;
  machine.ram.available = Bytes{60} * kGiB.value;
  machine.ram.read_bytes_per_s = 45e9;
  machine.ram.touch_bytes_per_s = 5e9;
  machine.disk.reads = {{Bytes{64} * kKiB.value, 1e9}, {kMiB, 3e9}};
  machine.disk.beside_compute_bytes_per_s = 2.8e9;
  machine.compute = {.threads = 8,
                     .kernels = {{"q4_K", 40e9, 200e9, 300e9, 38e9, 120e9, 20e9},
                                 {"f32", 44e9, 80e9, 100e9, 40e9, 60e9, std::nullopt}},
                     .attention = {40e9, 80e9, 0.8},
                     .quantised_attention = {20e9, 40e9, 0.8},
                     .element_bytes_per_s = 20e9,
                     .seconds_per_node = 2e-6,
                     .seconds_per_segment = 1e-5,
                     .share_beside_reads = 0.95};
  return machine;
}

hardware::Gpu gpu(std::uint64_t gib) {
  return {.name = "a GPU",
          .total = kGiB * gib,
          .free = kGiB * gib,
          .host_to_device_bytes_per_s = 20e9,
          .memory_bytes_per_s = 360e9,
          .multiplications_per_s = 15e12,
          .runtime = Bytes{500} * kMiB.value};
}

/// A model of `layers` layers, each with attention, and either a dense part or `experts` experts.
Inputs model_of(int layers, std::int64_t size, std::int64_t experts) {
  Inputs out{.machine = desktop(), .host_budget = Bytes{8} * kGiB.value};
  model::ModelProfile& profile = out.profile;
  profile.files.push_back({});
  profile.layers = static_cast<std::uint32_t>(layers);
  std::uint64_t at = 4096;
  const auto add = [&](std::int64_t columns, std::int64_t rows, std::int64_t count, std::optional<int> layer,
                       TensorUse use) {
    model::TensorInfo tensor{.name = "t" + std::to_string(profile.tensors.size()),
                             .type = rows == 1 ? GGML_TYPE_F32 : GGML_TYPE_Q4_K,
                             .shape = {columns, rows, count, 1},
                             .offset = at,
                             .layer = layer};
    tensor.bytes = tensor.row_bytes() * static_cast<std::uint64_t>(tensor.rows());
    at = align_up(at + tensor.bytes.value, std::uint64_t{32});
    use.tensor = static_cast<std::uint32_t>(profile.tensors.size());
    if (use.expert_group) use.expert_group = use.tensor;
    use.repacked = tensor.type == GGML_TYPE_Q4_K && !use.gather;
    profile.tensors.push_back(std::move(tensor));
    out.run.demand.uses.push_back(use);
  };
  add(size, 32000, 1, std::nullopt, {.gather = true});
  for (int layer = 0; layer < layers; ++layer) {
    add(size, 1, 1, layer, {.whole = true});
    add(size, size * 4, 1, layer, {.by_rows = true});
    if (experts > 0) {
      add(size, size, experts, layer, {.whole = true, .expert_group = 0});
    } else {
      add(size, size * 8, 1, layer, {.by_rows = true});
    }
  }
  add(size, 32000, 1, std::nullopt, {.by_rows = true});
  profile.files.back().size = Bytes{at};

  HostDemand& demand = out.run.demand;
  demand.held = Bytes{80} * kMiB.value;
  demand.kv_cache = Bytes{512} * kMiB.value;
  demand.compute = Bytes{200} * kMiB.value;
  demand.growth = kMiB;
  demand.bookkeeping = {Bytes{1200}, Bytes{16}};
  demand.least_for_weights = smallest_budget(profile, demand.uses, demand.bookkeeping);
  const auto work = [&](std::int64_t tokens) {
    GraphWork graph{
        .tokens = tokens, .cells = 256, .experts_used = experts > 0 ? std::min<std::int64_t>(experts, 8) : 0};
    double dense = 0;
    double chosen = 0;
    for (const TensorUse& use : demand.uses) {
      const model::TensorInfo& tensor = profile.tensors[use.tensor];
      if (use.gather || tensor.rows() == 1) continue;
      const auto elements = static_cast<double>(tensor.rows() * tensor.shape[0]);
      if (use.expert_group) {
        chosen += elements / static_cast<double>(experts) * static_cast<double>(graph.experts_used);
      } else {
        dense += elements;
      }
    }
    const auto n = static_cast<double>(tokens);
    graph.products.push_back({GGML_TYPE_Q4_K, true, false, n, dense * n});
    if (experts > 0) {
      const double of_each = n * static_cast<double>(graph.experts_used) / static_cast<double>(experts);
      graph.products.push_back({GGML_TYPE_Q4_K, true, true, std::max(of_each, 1.0), chosen * n});
    }
    graph.attention = Bytes{16} * kMiB.value;
    graph.attention_multiplications = 8e6 * n;
    graph.elements = kMiB * static_cast<std::uint64_t>(tokens);
    graph.nodes = layers * 30;
    return graph;
  };
  out.run.decode = work(1);
  out.run.prompt = work(512);
  out.run.context = 4096;
  out.run.ubatch = 512;
  return out;
}

Inputs random_inputs(std::mt19937& random) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  Inputs out = model_of(pick(8, 32), 1024 * pick(1, 4), pick(0, 2) == 0 ? pick(8, 64) : 0);
  const Bytes all = out.run.demand.fixed() + out.profile.weight_bytes();
  out.host_budget =
      Bytes{out.run.demand.least().value + all.value / 100 * static_cast<std::uint64_t>(pick(0, 130))};
  for (int i = pick(0, 2); i > 0; --i) {
    hardware::Gpu one = gpu(static_cast<std::uint64_t>(pick(4, 24)));
    const Bytes budget{(*one.runtime + out.run.demand.compute).value +
                       out.profile.weight_bytes().value / 100 * static_cast<std::uint64_t>(pick(0, 80))};
    out.devices.push_back({"CUDA" + std::to_string(out.devices.size()), std::move(one), budget});
  }
  out.workload.sequences = pick(0, 3) == 0 ? pick(2, 32) : 1;
  // All together take half of the KV cache, as placements count.
  out.workload.cells = 4096 / out.workload.sequences;
  return out;
}

double decode_rate(const Inputs& inputs) {
  const auto plan = make_plan(inputs);
  EXPECT_TRUE(plan) << plan.error().message;
  return plan ? plan->forecast.decode_tokens_per_second : 0;
}

// Placement is by whole units: a little more memory may move a boundary between units, and cost a segment or
// the padding of a block.
constexpr double kSeams = 0.98;

TEST(Plan, NeverExceedsABudgetByAByte) {
  std::mt19937 random(1);
  for (int i = 0; i < 100; ++i) {
    const Inputs inputs = random_inputs(random);
    const auto plan = make_plan(inputs);
    ASSERT_TRUE(plan) << plan.error().message;
    const MemoryMap map = plan->host.memory_map(inputs.profile);
    ASSERT_LE(map.unused, map.budget);
    EXPECT_EQ(map.resident_weights + map.experts + map.ring + map.kv_cache + map.compute + map.draft_model +
                  map.runtime + map.unused,
              inputs.host_budget);
    for (const DeviceShare& device : plan->devices.devices) {
      EXPECT_EQ(
          device.weights + device.experts + device.kv_cache + device.compute + device.runtime + device.unused,
          device.budget);
      EXPECT_LE(device.peak(), device.budget);
    }
  }
}

TEST(Plan, EveryWeightLiesSomewhere) {
  std::mt19937 random(2);
  for (int i = 0; i < 40; ++i) {
    const Inputs inputs = random_inputs(random);
    const auto plan = make_plan(inputs);
    ASSERT_TRUE(plan);
    std::vector<int> places(inputs.profile.tensors.size());
    for (const DeviceShare& device : plan->devices.devices) {
      for (const std::uint32_t tensor : device.tensors) ++places[tensor];
    }
    std::vector<bool> on_host(places.size());
    for (const Unit& unit : plan->host.placement.units) on_host[unit.tensor] = true;
    for (const ExpertGroup& group : plan->host.placement.groups) {
      for (const ExpertPart& part : group.parts) on_host[part.tensor] = true;
    }
    for (const TensorUse& use : inputs.run.demand.uses) {
      if (!use.by_rows && !use.whole) continue;
      EXPECT_EQ(places[use.tensor] + (on_host[use.tensor] ? 1 : 0), 1) << "tensor " << use.tensor;
    }
  }
}

TEST(Plan, MoreOfAnythingIsNeverSlower) {
  std::mt19937 random(3);
  for (int i = 0; i < 40; ++i) {
    const Inputs inputs = random_inputs(random);
    const double rate = decode_rate(inputs);
    const auto expect_not_slower = [&](std::string_view what, const Inputs& more) {
      EXPECT_GE(decode_rate(more), rate * kSeams) << what << ", machine " << i;
    };
    Inputs more = inputs;
    more.host_budget = Bytes{more.host_budget.value + more.profile.weight_bytes().value / 5};
    expect_not_slower("RAM", more);
    more = inputs;
    for (auto& read : more.machine.disk.reads) read.bytes_per_s *= 1.5;
    more.machine.disk.beside_compute_bytes_per_s *= 1.5;
    expect_not_slower("disk", more);
    more = inputs;
    for (auto& kernel : more.machine.compute.kernels) {
      kernel.decode_bytes_per_s *= 1.5;
      kernel.batch_multiplications_per_s *= 1.5;
      kernel.prompt_multiplications_per_s *= 1.5;
      kernel.expert_decode_bytes_per_s *= 1.5;
      kernel.expert_multiplications_per_s *= 1.5;
    }
    expect_not_slower("kernels", more);
    if (inputs.devices.empty()) continue;
    more = inputs;
    more.devices.front().budget =
        Bytes{more.devices.front().budget.value + more.profile.weight_bytes().value / 5};
    expect_not_slower("VRAM", more);
    more = inputs;
    *more.devices.front().gpu.memory_bytes_per_s *= 1.5;
    *more.devices.front().gpu.host_to_device_bytes_per_s *= 1.5;
    *more.devices.front().gpu.multiplications_per_s *= 1.5;
    expect_not_slower("GPU", more);
  }
}

TEST(Plan, IsBoundByTheDiskWhereMostOfItStreams) {
  Inputs inputs = model_of(24, 2048, 0);
  inputs.host_budget = inputs.run.demand.fixed() + inputs.profile.weight_bytes();
  EXPECT_EQ(make_plan(inputs)->forecast.decode.bound_by(), Bound::kRam);
  inputs.host_budget = inputs.run.demand.fixed() + Bytes{inputs.profile.weight_bytes().value / 2};
  const auto half = make_plan(inputs);
  ASSERT_TRUE(half);
  EXPECT_EQ(half->forecast.decode.bound_by(), Bound::kDisk);
  // Half of the bytes are read at 3 GB/s while nothing else runs, and a little slower beside the cores.
  const double streamed = static_cast<double>(half->host.placement.streamed_per_pass.value);
  EXPECT_GT(half->forecast.decode.seconds, streamed / 3e9);
  EXPECT_LT(half->forecast.decode.seconds, 1.2 * streamed / 2.8e9);
}

TEST(Plan, CallsTheOptionsAsTheInterfaceDoes) {
  Inputs inputs = model_of(24, 2048, 0);
  inputs.names = {.ram = "memory", .vram = "gpu memory", .ubatch = "step"};
  inputs.host_budget = inputs.run.demand.fixed() + Bytes{inputs.profile.weight_bytes().value / 2};
  EXPECT_TRUE(standard_variants(inputs).front().what.starts_with("memory "));
  inputs.devices = {{.name = "CUDA0", .gpu = {.runtime = kMiB * 300}, .budget = kMiB * 200}};
  const auto refused = make_plan(inputs);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("and gpu memory gives it 200.0 MiB: "), std::string::npos)
      << refused.error().message;
  EXPECT_NE(refused.error().message.find("use a smaller step, or leave it out"), std::string::npos)
      << refused.error().message;
}

TEST(Advice, NamesNoMoreMemoryThanACgroupAllows) {
  Inputs inputs = model_of(24, 2048, 0);
  inputs.host_budget = inputs.run.demand.fixed() + Bytes{inputs.profile.weight_bytes().value / 2};
  inputs.machine.ram.cgroup_limit = inputs.host_budget;
  inputs.most_host_budget = inputs.host_budget;
  std::string all;
  for (const Variant& variant : standard_variants(inputs)) all += variant.what + "\n";
  EXPECT_EQ(all.find("--ram"), std::string::npos) << all;
  EXPECT_EQ(all.find("of RAM"), std::string::npos) << all;
  EXPECT_NE(all.find("a cgroup memory limit of 60.00 GiB"), std::string::npos) << all;
  // Other processes hold what the machine says is available.
  inputs.machine.ram.cgroup_limit.reset();
  inputs.most_host_budget = inputs.host_budget + kGiB;
  EXPECT_EQ(standard_variants(inputs).front().inputs.host_budget, *inputs.most_host_budget);
}

TEST(Plan, ABatchTakesMoreTokensFromAPassThatWaitsForTheDisk) {
  Inputs inputs = model_of(24, 2048, 0);
  inputs.host_budget = inputs.run.demand.fixed() + Bytes{inputs.profile.weight_bytes().value / 2};
  const double one = decode_rate(inputs);
  inputs.workload.sequences = 8;
  EXPECT_GT(decode_rate(inputs), 4 * one);
}

/// The forecast for a context of `context` tokens, each of which takes `of_a_token` of the budget.
SharedForecast shared_of(std::uint32_t context, Bytes of_a_token, double part_of_weights,
                         const SharedWork& work) {
  Inputs inputs = model_of(24, 2048, 0);
  inputs.host_budget = inputs.run.demand.fixed() +
                       Bytes{static_cast<std::uint64_t>(
                           static_cast<double>(inputs.profile.weight_bytes().value) * part_of_weights)};
  inputs.run.context = context;
  inputs.run.demand.kv_cache = of_a_token * context;
  const auto plan = make_plan(inputs);
  EXPECT_TRUE(plan) << plan.error().message;
  if (!plan) return {};
  inputs.run.placement = plan->host.placement;
  return forecast_shared(inputs.profile, inputs.run, {}, inputs.machine, work);
}

TEST(Shared, CellsDecideHowManyAreComputedAtOnce) {
  const SharedWork work{.requests = 16, .prompt_tokens = 300, .answer_tokens = 200};
  const Bytes little = kKiB;
  EXPECT_EQ(shared_of(256, little, 0.5, work).at_once, 1U);
  EXPECT_EQ(shared_of(4096, little, 0.5, work).at_once, 8U);
  EXPECT_EQ(shared_of(65536, little, 0.5, work).at_once, 16U) << "no more than there are";
}

TEST(Shared, MoreAtOnceIsFasterWhereThePassWaitsForTheDisk) {
  const SharedWork work{.requests = 16, .prompt_tokens = 100, .answer_tokens = 400};
  const double few = shared_of(1024, kKiB, 0.5, work).tokens_per_second;
  EXPECT_GT(shared_of(8192, kKiB, 0.5, work).tokens_per_second, 1.5 * few);
}

TEST(Shared, ACacheThatPushesWeightsOutIsNotWorthItForLongPrompts) {
  // With a small cache all weights would stay in memory. The cores are busy with the prompts either way.
  const SharedWork work{.requests = 16, .prompt_tokens = 4000, .answer_tokens = 4};
  const Bytes much = Bytes{12} * kKiB.value;
  EXPECT_GT(shared_of(8192, much, 1.05, work).tokens_per_second,
            shared_of(65536, much, 1.05, work).tokens_per_second);
}

TEST(Plan, AGpuTakesWholeLayersFirstAndTheirKvCache) {
  Inputs inputs = model_of(10, 1024, 0);
  Bytes layer;
  for (const auto& tensor : inputs.profile.tensors) {
    if (tensor.layer == 3) layer += align_up(tensor.bytes, Bytes{256});
  }
  const Bytes kv = Bytes{inputs.run.demand.kv_cache.value / 10 + 1};
  const Bytes fixed = *gpu(12).runtime + inputs.run.demand.compute;
  inputs.devices = {{"CUDA0", gpu(12), fixed + (layer + kv) * 4}};
  const DeviceSplit split = split_devices(inputs.profile, inputs.run.demand, inputs.devices);
  EXPECT_EQ(split.devices.front().layers, 4U);
  EXPECT_LT(split.host.kv_cache, inputs.run.demand.kv_cache);
  inputs.devices.front().budget = inputs.devices.front().budget - kv;
  EXPECT_EQ(split_devices(inputs.profile, inputs.run.demand, inputs.devices).devices.front().layers, 3U);
}

TEST(Plan, EachLinkSendsLayersByItsRateAndTheyTakeTurns) {
  Inputs inputs = model_of(12, 1024, 0);
  const Bytes fixed = *gpu(12).runtime + inputs.run.demand.compute;
  const Bytes budget = fixed + kMiB * 8;  // a ring, and no layer
  inputs.devices = {{"CUDA0", gpu(12), budget}, {"CUDA1", gpu(12), budget}, {"CUDA2", gpu(12), fixed}};
  for (DeviceBudget& device : inputs.devices) device.ring = kMiB * 8;
  inputs.devices[0].gpu.host_to_device_bytes_per_s = 10e9;
  inputs.devices[1].gpu.host_to_device_bytes_per_s = 20e9;
  const DeviceSplit split = split_devices(inputs.profile, inputs.run.demand, inputs.devices);
  const std::vector<int> slower = split.devices[0].sent_layers;
  const std::vector<int> faster = split.devices[1].sent_layers;
  ASSERT_EQ(slower.size(), 4U);
  ASSERT_EQ(faster.size(), 8U);
  EXPECT_EQ(split.devices[2].ring, Bytes{});
  EXPECT_TRUE(split.devices[2].sent_layers.empty());
  for (std::size_t i = 1; i < slower.size(); ++i)
    EXPECT_EQ(slower[i] - slower[i - 1], 3) << "two others between";
  for (const int layer : slower) EXPECT_EQ(std::ranges::find(faster, layer), faster.end()) << layer;
  for (const DeviceShare& device : split.devices)
    EXPECT_EQ(device.weights + device.experts + device.kv_cache + device.compute + device.ring +
                  device.runtime + device.unused,
              device.budget);
}

// The cores multiply at 40 GB/s, and memory gives 50 to them and the link together. The card holds little
// more than the ring.
TEST(Plan, RowsThatCrossTheLinkMakeATokenFaster) {
  Inputs inputs = model_of(32, 4096, 0);
  inputs.host_budget = Bytes{32} * kGiB.value;
  inputs.devices = {
      {"CUDA0", gpu(12), *gpu(12).runtime + inputs.run.demand.compute + Bytes{600} * kMiB.value}};
  TransferPolicy policy = measured_transfer_policy(inputs.profile, inputs.machine, gpu(12));
  EXPECT_TRUE(policy.rows.empty()) << "nobody has measured that they pay";
  policy.rows = device_rows(inputs.profile, inputs.machine, gpu(12));
  add_rings(inputs.devices, inputs.profile, policy, inputs.run.ubatch);
  ASSERT_EQ(inputs.devices[0].rows.size(), 64U);
  const auto with = make_plan(inputs);
  inputs.devices[0].rows.clear();
  const auto without = make_plan(inputs);
  ASSERT_TRUE(with && without);
  const DeviceShare& device = with->devices.devices.at(0);
  EXPECT_FALSE(device.rows.empty());
  for (const DeviceRows& rows : device.rows) {
    const auto of_host = std::ranges::find(with->host.demand.uses, rows.tensor, &TensorUse::tensor);
    EXPECT_NE(of_host, with->host.demand.uses.end()) << "what lies on the card is not sent";
  }
  EXPECT_EQ(with->forecast.decode.rows_sent, bytes_of(inputs.profile, device.rows));
  EXPECT_EQ(without->forecast.decode.rows_sent, Bytes{});
  const double gain = without->forecast.decode.seconds / with->forecast.decode.seconds;
  EXPECT_GT(gain, 1.1);
  EXPECT_LT(gain, 1.25);
  EXPECT_DOUBLE_EQ(with->forecast.prompt.seconds, without->forecast.prompt.seconds);
  // A matrix of which some streams stays whole, so the disk reads it as before.
  inputs.host_budget = inputs.run.demand.least();
  inputs.devices[0].rows = with->devices.devices.at(0).rows;
  const auto streams = make_plan(inputs);
  ASSERT_TRUE(streams) << streams.error().message;
  EXPECT_LT(streams->forecast.decode.rows_sent, with->forecast.decode.rows_sent);
}

/// A model whose cells cost the cores eight multiplications for each byte, and a card with room for all cells
/// and for a layer or two.
Inputs with_long_context() {
  Inputs inputs = model_of(10, 4096, 0);
  inputs.host_budget = Bytes{16} * kGiB.value;
  GraphWork& decode = inputs.run.decode;
  decode.cells = 32768;
  decode.attention = inputs.run.demand.kv_cache;
  decode.attention_multiplications = static_cast<double>(decode.attention.value) * 8;
  for (int layer = 0; layer < 10; ++layer)
    inputs.run.demand.kv_of_layers[layer] = Bytes{inputs.run.demand.kv_cache.value / 10};
  inputs.devices = {{"CUDA0", gpu(12),
                     *gpu(12).runtime + inputs.run.demand.compute + inputs.run.demand.kv_cache + kMiB * 200}};
  return inputs;
}

TEST(Plan, CellsLieOnTheCardWithoutTheirWeightsWhereThatIsFaster) {
  Inputs inputs = with_long_context();
  inputs.workload.cells = 32768;
  const auto plan = make_plan(inputs);
  ASSERT_TRUE(plan) << plan.error().message;
  const DeviceShare& card = plan->devices.devices.front();
  EXPECT_EQ(card.layers_of_cells, 10U);
  EXPECT_LT(card.layers, 10U);
  EXPECT_EQ(card.kv_cache, Bytes{inputs.run.demand.kv_cache.value / 10 * 10});
  EXPECT_EQ(card.weights + card.kv_cache + card.compute + card.ring + card.runtime + card.unused,
            card.budget);
  EXPECT_EQ(plan->host.demand.kv_cache + card.kv_cache, inputs.run.demand.kv_cache);
  EXPECT_DOUBLE_EQ(plan->devices.share_of_cells(inputs.profile), 1);
  // Where nobody measured the cores' attention, cells lie beside their weights, and a step takes longer.
  inputs.machine.compute.quantised_attention = {};
  const auto beside = make_plan(inputs);
  ASSERT_TRUE(beside);
  EXPECT_EQ(beside->devices.devices.front().layers_of_cells, beside->devices.devices.front().layers);
  EXPECT_LT(plan->forecast.decode.seconds * 1.5, beside->forecast.decode.seconds);
}

TEST(Plan, CellsThatCostLittleLeaveTheCardToWeights) {
  Inputs inputs = with_long_context();
  inputs.run.decode.attention_multiplications /= 64;
  inputs.machine.ram.read_bytes_per_s = 1e12;
  const auto plan = make_plan(inputs);
  ASSERT_TRUE(plan) << plan.error().message;
  const DeviceShare& card = plan->devices.devices.front();
  EXPECT_LT(card.layers_of_cells, 3U);
  EXPECT_GT(card.layers, 3U);
}

TEST(Plan, AtPromptsTheCardAttendsToTheHostsCells) {
  Inputs inputs = with_long_context();
  inputs.devices.front().budget =
      *gpu(12).runtime + inputs.run.demand.compute + Bytes{inputs.profile.weight_bytes().value / 10};
  inputs.devices.front().ring = kMiB * 64;
  inputs.workload.prompt_tokens = 512;
  const auto with_ring = make_plan(inputs);
  inputs.machine.compute.attention.prompt_multiplications_per_s /= 100;
  const auto slow_cores = make_plan(inputs);
  ASSERT_TRUE(with_ring && slow_cores);
  EXPECT_DOUBLE_EQ(with_ring->forecast.prompt.seconds, slow_cores->forecast.prompt.seconds);
}

TEST(Plan, WhatIsSentComesAsFastAsItIsTurnedBack) {
  Inputs inputs = with_long_context();
  inputs.devices.front().ring = kMiB * 128;
  const auto at_rate_of_link = make_plan(inputs);
  inputs.machine.compute.kernels[0].turn_back_bytes_per_s = 1e9;  // four threads turn back 4 GB/s
  const auto turned_back = make_plan(inputs);
  ASSERT_TRUE(at_rate_of_link && turned_back);
  EXPECT_NEAR(turned_back->forecast.prompt.link_seconds / at_rate_of_link->forecast.prompt.link_seconds, 5,
              0.5)
      << "the link moves 20 GB/s";
  inputs.machine.compute.kernels[0].turn_back_bytes_per_s = 9e9;
  EXPECT_DOUBLE_EQ(make_plan(inputs)->forecast.prompt.link_seconds,
                   at_rate_of_link->forecast.prompt.link_seconds);
}

TEST(Plan, NamesDraftsWhereAPassWaitsForTheDisk) {
  Inputs inputs = model_of(24, 2048, 0);
  EXPECT_TRUE(make_plan(inputs)->forecast.drafted.empty())
      << "all fits, and each token takes the cores' time";
  inputs.host_budget = inputs.run.demand.least();
  inputs.machine.disk.reads = {{kMiB, 300e6}};
  inputs.machine.disk.beside_compute_bytes_per_s = 300e6;
  const auto plan = make_plan(inputs);
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->forecast.drafted.size(), 4U);
  const DraftedPass one = plan->forecast.drafted.front();
  EXPECT_EQ(one.accepted, 1);
  EXPECT_NEAR(one.tokens_per_second, 2 * plan->forecast.decode_tokens_per_second,
              0.1 * plan->forecast.decode_tokens_per_second);
  inputs.workload.sequences = 8;
  EXPECT_TRUE(make_plan(inputs)->forecast.drafted.empty());
}

TEST(Plan, SaysWhatIsMissingAndWhere) {
  Inputs inputs = model_of(4, 1024, 0);
  inputs.host_budget = inputs.run.demand.least() - Bytes{64} * kKiB.value;
  auto plan = make_plan(inputs);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kInfeasible);
  EXPECT_NE(plan.error().message.find("the host needs"), std::string::npos);
  inputs.host_budget = inputs.run.demand.least();
  EXPECT_TRUE(make_plan(inputs));
  inputs.devices = {{"CUDA0", gpu(12), *gpu(12).runtime}};
  plan = make_plan(inputs);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kInfeasible);
  EXPECT_NE(plan.error().message.find("CUDA0 needs"), std::string::npos);
}

/// As random_inputs(), with disks from slow to fast and prompts from one token to many.
Inputs random_machine(std::mt19937& random) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  Inputs out = random_inputs(random);
  const double faster = std::pow(10.0, pick(-15, 5) / 10.0);
  for (hardware::ReadRate& read : out.machine.disk.reads) read.bytes_per_s *= faster;
  out.machine.disk.beside_compute_bytes_per_s *= faster;
  out.workload.prompt_tokens = std::int64_t{1} << pick(0, 12);
  out.workload.cells = out.workload.prompt_tokens;
  return out;
}

void expect_consistent(const PassCost& cost) {
  const double disk = cost.disk_seconds + cost.expert_seconds;
  const std::map<Bound, double> parts{{Bound::kCompute, cost.compute_seconds},
                                      {Bound::kDisk, disk},
                                      {Bound::kGpu, cost.device_seconds},
                                      {Bound::kLink, cost.link_seconds}};
  const Bound named = cost.bound_by() == Bound::kRam ? Bound::kCompute : cost.bound_by();
  double sum = 0;
  for (const auto& [bound, seconds] : parts) {
    EXPECT_GE(seconds, 0);
    EXPECT_LE(seconds, parts.at(named)) << to_string(bound) << " takes longer than " << to_string(named);
    EXPECT_LE(seconds, cost.seconds * (1 + 1e-9)) << to_string(bound) << " takes longer than all";
    sum += seconds;
  }
  EXPECT_LE(cost.seconds, 1.5 * sum + 0.1) << "what takes the time has no name";
  EXPECT_EQ(cost.reads == Bytes{}, disk == 0);
}

TEST(Plan, ItsFiguresAgreeWithEachOther) {
  std::mt19937 random(5);
  std::map<Bound, int> seen;
  for (int i = 0; i < 150; ++i) {
    SCOPED_TRACE(testing::Message() << "machine " << i);
    const Inputs inputs = random_machine(random);
    const auto plan = make_plan(inputs);
    ASSERT_TRUE(plan) << plan.error().message;
    const Forecast& f = plan->forecast;
    expect_consistent(f.decode);
    expect_consistent(f.prompt);
    ++seen[f.decode.bound_by()];
    ++seen[f.prompt.bound_by()];
    EXPECT_NEAR(f.decode_tokens_per_second * f.decode.seconds, static_cast<double>(inputs.workload.sequences),
                1e-6);
    EXPECT_NEAR(f.prompt_tokens_per_second * f.prompt.seconds,
                static_cast<double>(inputs.workload.prompt_tokens), 1e-6);
    EXPECT_DOUBLE_EQ(f.first_token_seconds, f.prompt.seconds);
    // The forecast reads what streams and what experts miss: nothing where everything is in memory.
    const MemoryMap map = plan->host.memory_map(inputs.profile);
    EXPECT_GE(f.decode.reads, map.streamed_per_pass);
    EXPECT_LE(f.decode.reads, inputs.profile.weight_bytes() + inputs.profile.weight_bytes());
    EXPECT_TRUE(map.streams() || f.decode.reads == Bytes{});
    if (testing::Test::HasFailure()) return;
  }
  for (const Bound bound : {Bound::kCompute, Bound::kRam, Bound::kDisk, Bound::kGpu, Bound::kLink})
    EXPECT_GT(seen[bound], 0) << "never bound by " << to_string(bound);
}

TEST(Plan, AHardDiskBoundsThePromptAndNotTheLinkBesideIt) {
  Inputs inputs = model_of(24, 2048, 32);
  inputs.devices = {{"CUDA0", gpu(12), kMiB * 900}};
  inputs.host_budget = inputs.run.demand.fixed() + Bytes{inputs.profile.weight_bytes().value / 3};
  inputs.machine.disk.reads = {{kMiB, 150e6}};
  inputs.machine.disk.beside_compute_bytes_per_s = 140e6;
  inputs.workload.prompt_tokens = 100;
  const auto plan = make_plan(inputs);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_GT(plan->forecast.prompt.link_seconds, 0);
  EXPECT_EQ(plan->forecast.prompt.bound_by(), Bound::kDisk);
}

TEST(Plan, ATokenReadsOnlyTheExpertsThatItUses) {
  Inputs inputs = model_of(24, 2048, 64);
  inputs.host_budget = inputs.run.demand.fixed() + Bytes{inputs.profile.weight_bytes().value / 2};
  const auto plan = make_plan(inputs);
  ASSERT_TRUE(plan) << plan.error().message;
  const MemoryMap map = plan->host.memory_map(inputs.profile);
  const double lacking = static_cast<double>((map.experts_total - map.experts_in_slots).value);
  const double reads = static_cast<double>(plan->forecast.decode.reads.value);
  EXPECT_NEAR(reads, lacking * 8 / 64, 0.02 * reads);  // a token uses 8 of 64, and each is as likely
  EXPECT_GT(plan->forecast.decode.seconds, reads / 3e9);
  EXPECT_LT(plan->forecast.decode.seconds, lacking / 3e9);
}

TEST(Plan, ExpertsOnTheHostBesideAttentionOnAGpuCostADetourForEachLayer) {
  Inputs inputs = model_of(24, 4096, 32);
  inputs.host_budget = inputs.run.demand.fixed() + inputs.profile.weight_bytes() * 2;
  inputs.devices = {{"CUDA0", gpu(12), Bytes{4} * kGiB.value}};
  inputs.placement_filter = [](std::string_view, const model::ModelProfile&,
                               const model::TensorInfo& tensor) { return tensor.shape[2] == 1; };
  const auto plan = make_plan(inputs);
  ASSERT_TRUE(plan) << plan.error().message;
  ASSERT_EQ(plan->devices.devices.front().layers, 24U);
  EXPECT_NEAR(plan->forecast.decode.link_seconds, 24 * 0.3e-3, 1e-6);
  // Attention of half of the layers lies on the host, and these layers need no detour.
  inputs.placement_filter = [](std::string_view, const model::ModelProfile&,
                               const model::TensorInfo& tensor) {
    return tensor.shape[2] == 1 && tensor.layer.value_or(0) < 12;
  };
  const auto half = make_plan(inputs);
  ASSERT_TRUE(half) << half.error().message;
  EXPECT_NEAR(half->forecast.decode.link_seconds, 12.5 * 0.3e-3, 1e-6);
}

TEST(Plan, AdviceHelpsWhereverItIsGiven) {
  std::mt19937 random(6);
  int given = 0;
  for (int i = 0; i < 25; ++i) {
    const Inputs inputs = random_machine(random);
    const auto plan = make_plan(inputs);
    ASSERT_TRUE(plan) << plan.error().message;
    const std::vector<Variant> variants = standard_variants(inputs);
    for (const Change& change : rank(*plan, variants)) {
      const auto variant = std::ranges::find(variants, change.what, &Variant::what);
      ASSERT_NE(variant, variants.end()) << change.what;
      const auto changed = make_plan(variant->inputs);
      ASSERT_TRUE(changed) << changed.error().message;
      const double factor =
          changed->forecast.decode_tokens_per_second / plan->forecast.decode_tokens_per_second;
      EXPECT_DOUBLE_EQ(change.factor, factor) << change.what;
      EXPECT_GT(factor, 1.0) << change.what;
      EXPECT_EQ(changed->host.memory_map(variant->inputs.profile).total_weights,
                plan->host.memory_map(inputs.profile).total_weights)
          << change.what << " is another model";
      ++given;
    }
  }
  EXPECT_GT(given, 25);
}

TEST(Plan, AdviceIsRankedByGain) {
  Inputs inputs = model_of(24, 2048, 0);
  inputs.machine.ram.total = Bytes{8} * kGiB.value;
  inputs.host_budget = inputs.run.demand.fixed() + Bytes{inputs.profile.weight_bytes().value / 2};
  const auto plan = make_plan(inputs);
  ASSERT_TRUE(plan);
  const auto changes = rank(*plan, standard_variants(inputs));
  ASSERT_FALSE(changes.empty());
  for (std::size_t i = 1; i < changes.size(); ++i) EXPECT_GE(changes[i - 1].factor, changes[i].factor);
  for (const Change& change : changes) EXPECT_GT(change.factor, 1.0) << change.what;
}

TEST(Requantise, SizesFollowFromTheShapes) {
  Inputs inputs = model_of(4, 1024, 0);
  std::vector<ggml_type> types;
  types.reserve(inputs.profile.tensors.size());
  for (const auto& tensor : inputs.profile.tensors)
    types.push_back(tensor.type == GGML_TYPE_Q4_K ? GGML_TYPE_Q2_K : tensor.type);
  const Inputs smaller = requantised(inputs, types);
  EXPECT_LT(smaller.profile.weight_bytes(), inputs.profile.weight_bytes());
  double before = 0;
  double after = 0;
  for (const Products& products : inputs.run.decode.products) before += products.multiplications;
  for (const Products& products : smaller.run.decode.products) {
    after += products.multiplications;
    EXPECT_EQ(products.type, GGML_TYPE_Q2_K);
  }
  EXPECT_NEAR(after, before, before * 1e-9);
  ASSERT_TRUE(make_plan(smaller));
}

}  // namespace
}  // namespace brimful::plan

#include "tier/gpu/single_columns.h"

#include <ggml-cpp.h>
#include <ggml.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <array>

namespace brimful::tier {
namespace {

constexpr std::int64_t kLength = 64;
constexpr int kProducts = 50;

/// A chain of products of `tokens` tokens with one matrix.
ggml_cgraph* chain(ggml_context* context, std::int64_t tokens) {
  ggml_tensor* const weight = ggml_new_tensor_2d(context, GGML_TYPE_F32, kLength, kLength);
  ggml_tensor* at = ggml_new_tensor_2d(context, GGML_TYPE_F32, kLength, tokens);
  for (int i = 0; i < kProducts; ++i) at = ggml_mul_mat(context, weight, at);
  ggml_cgraph* const graph = ggml_new_graph(context);
  ggml_build_forward_expand(graph, at);
  return graph;
}

/// Cuts all products of the graph into single tokens.
void cut(SingleColumns& columns, ggml_cgraph* graph, std::vector<ggml_tensor*>& nodes) {
  columns.begin_pass(true);
  const auto cuts = columns.match(*graph);
  ASSERT_TRUE(cuts) << cuts.error().message;
  columns.begin_copies(cuts->tokens);
  NodeCutter cutter(columns.split(), [&](const ggml_tensor& of) -> ggml_tensor& { return columns.copy(of); });
  for (int n = 0; n < ggml_graph_n_nodes(graph); ++n)
    cutter.cut(ggml_graph_node(graph, n), false, cuts->dimension[static_cast<std::size_t>(n)], cuts->tokens,
               nodes);
}

class SingleColumnsOfAChain : public testing::Test {
 protected:
  void SetUp() override {
    one_ = chain(context_.get(), 1);
    several_ = chain(context_.get(), kTokens);
    for (const ggml_cgraph* const graph : {one_, several_}) {
      columns_.begin_pass(true);
      const Status recorded = columns_.record(*graph);
      ASSERT_TRUE(recorded) << recorded.error().message;
    }
    ASSERT_TRUE(columns_.matched());
  }

  static constexpr std::uint32_t kTokens = 8;
  ggml_context_ptr context_{ggml_init({8 << 20, nullptr, false})};
  ggml_cgraph* one_ = nullptr;
  ggml_cgraph* several_ = nullptr;
  SingleColumns columns_;
};

TEST_F(SingleColumnsOfAChain, TakeNoMoreHeapThanTheyCount) {
  const Bytes counted = columns_.bytes(std::array{kTokens}) - columns_.bytes({});
  std::vector<ggml_tensor*> nodes;
  nodes.reserve(std::size_t{kProducts} * kTokens);
  const std::size_t before = ::mallinfo2().uordblks;
  cut(columns_, several_, nodes);
  const std::size_t grown = ::mallinfo2().uordblks - before;
  EXPECT_EQ(nodes.size(), std::size_t{kProducts} * kTokens);
  EXPECT_GT(grown, nodes.size() * sizeof(ggml_tensor));
  EXPECT_LE(grown, counted.value);
}

TEST_F(SingleColumnsOfAChain, HaveTheSameAddressesInEachPass) {
  std::vector<ggml_tensor*> first;
  cut(columns_, several_, first);
  std::vector<ggml_tensor*> single;
  cut(columns_, one_, single);
  std::vector<ggml_tensor*> second;
  cut(columns_, several_, second);
  EXPECT_EQ(first, second);
}

TEST_F(SingleColumnsOfAChain, RefuseAPassWithFewerParts) {
  columns_.begin_pass(true);
  EXPECT_FALSE(columns_.matched());
  ASSERT_TRUE(columns_.match(*several_));
  EXPECT_TRUE(columns_.matched());
  EXPECT_FALSE(columns_.match(*several_)) << "one part more than the pass of one token had";
}

TEST(SingleColumns, TakeNothingWhereNoPassWasRecorded) {
  const SingleColumns columns;
  EXPECT_EQ(columns.bytes(std::array{8U}), Bytes{});
}

}  // namespace
}  // namespace brimful::tier

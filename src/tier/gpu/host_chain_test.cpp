#include "tier/gpu/host_chain.h"

#include <ggml-cpp.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::tier {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// The graph of a layer of experts without memory. Its input and its ids are computed elsewhere.
class HostChain : public testing::Test {
 protected:
  static constexpr std::int64_t kWidth = 8;
  static constexpr std::int64_t kExperts = 4;

  ggml_tensor* matrix() {
    return ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, kWidth, kWidth, kExperts);
  }
  ggml_tensor* product(ggml_tensor* from) {
    return add(ggml_mul_mat_id(context_.get(), matrix(), from, ids_));
  }
  ggml_tensor* bias(ggml_tensor* from) {
    ggml_tensor* const biases = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, kWidth, kExperts);
    return add(ggml_add_id(context_.get(), from, biases, ids_));
  }
  ggml_tensor* add(ggml_tensor* node) {
    nodes_.push_back(node);
    return node;
  }
  std::vector<const ggml_tensor*> found(std::vector<const ggml_tensor*> products) {
    return find_host_chain(nodes_, products);
  }

  const ggml_context_ptr context_{ggml_init({64 * ggml_tensor_overhead(), nullptr, true})};
  ggml_tensor* const input_ = ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, kWidth, 1, 3);
  ggml_tensor* const ids_ = ggml_new_tensor_2d(context_.get(), GGML_TYPE_I32, 2, 3);
  std::vector<ggml_tensor*> nodes_;
};

TEST_F(HostChain, LeadsFromTheInputToTheLastProduct) {
  ggml_tensor* const up = product(input_);
  ggml_tensor* const gate = product(input_);
  ggml_tensor* const both = add(ggml_swiglu_split(context_.get(), gate, up));
  ggml_tensor* const down = product(both);
  add(ggml_scale(context_.get(), down, 2));
  EXPECT_THAT(found({up, gate, down}), ElementsAre(up, gate, both, down));
}

TEST_F(HostChain, HasBiases) {
  ggml_tensor* const up = product(input_);
  ggml_tensor* const up_biased = bias(up);
  ggml_tensor* const gate = product(input_);
  ggml_tensor* const gate_biased = bias(gate);
  ggml_tensor* const both = add(ggml_swiglu_oai(context_.get(), gate_biased, up_biased, 1.7F, 7));
  ggml_tensor* const down = product(both);
  bias(down);
  EXPECT_THAT(found({up, gate, down}), ElementsAre(up, up_biased, gate, gate_biased, both, down));
}

TEST_F(HostChain, IsNoneWhereOthersNeedItsRows) {
  ggml_tensor* const up = product(input_);
  ggml_tensor* const gate = product(input_);
  ggml_tensor* const both = add(ggml_swiglu_split(context_.get(), gate, up));
  ggml_tensor* const down = product(both);
  add(ggml_add(context_.get(), down, up));
  EXPECT_THAT(found({up, gate, down}), IsEmpty());
}

TEST_F(HostChain, IsNoneWithOtherOperations) {
  ggml_tensor* const up = product(input_);
  ggml_tensor* const sums = add(ggml_soft_max(context_.get(), up));
  ggml_tensor* const down = product(sums);
  EXPECT_THAT(found({up, down}), IsEmpty());
}

TEST_F(HostChain, IsNoneWhereTheInputIsNotThereYet) {
  nodes_.push_back(input_);
  ggml_tensor* const up = product(input_);
  ggml_tensor* const down = product(up);
  EXPECT_THAT(found({up, down}), IsEmpty());
}

TEST_F(HostChain, IsTheProductsWhereNothingLiesBetween) {
  ggml_tensor* const up = product(input_);
  ggml_tensor* const gate = product(input_);
  EXPECT_THAT(found({up, gate}), IsEmpty()) << "the rows of the first one are needed";
  nodes_.clear();
  ggml_tensor* const only = product(input_);
  EXPECT_THAT(found({only}), ElementsAre(only));
}

}  // namespace
}  // namespace brimful::tier

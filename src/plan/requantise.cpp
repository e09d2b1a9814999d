#include "plan/requantise.h"

#include <map>

namespace brimful::plan {
namespace {

struct Kind {
  ggml_type type;
  bool experts;
  auto operator<=>(const Kind&) const = default;
};

/// For each kind of product: the new types of its weights, each with its share of their elements.
using Shares = std::map<Kind, std::map<ggml_type, double>>;

Shares shares(const model::ModelProfile& profile, const std::vector<TensorUse>& uses,
              const std::vector<ggml_type>& types) {
  Shares out;
  std::map<Kind, double> all;
  for (const TensorUse& use : uses) {
    if (!use.by_rows && !use.whole) continue;
    const model::TensorInfo& tensor = profile.tensors[use.tensor];
    const Kind kind{tensor.type, use.expert_group.has_value()};
    const auto elements = static_cast<double>(tensor.rows() * tensor.shape[0]);
    out[kind][types[use.tensor]] += elements;
    all[kind] += elements;
  }
  for (auto& [kind, parts] : out) {
    for (auto& [type, part] : parts) part /= all[kind];
  }
  return out;
}

/// Divides the products of `work` among the new types.
GraphWork divide(const GraphWork& work, const Shares& shares, const hardware::Compute& compute) {
  GraphWork out = work;
  out.products.clear();
  for (const Products& products : work.products) {
    const auto known = shares.find({products.type, products.experts});
    if (known == shares.end()) {
      out.products.push_back(products);
      continue;
    }
    for (const auto& [type, part] : known->second) {
      Products some = products;
      some.type = type;
      const auto* const rate = compute.find(ggml_type_name(type));
      some.repacked = rate != nullptr && rate->repack_bytes_per_s.has_value();
      some.multiplications *= part;
      out.products.push_back(some);
    }
  }
  return out;
}

}  // namespace

Inputs requantised(Inputs inputs, const std::vector<ggml_type>& types) {
  const Shares parts = shares(inputs.profile, inputs.run.demand.uses, types);
  inputs.run.decode = divide(inputs.run.decode, parts, inputs.machine.compute);
  inputs.run.prompt = divide(inputs.run.prompt, parts, inputs.machine.compute);
  std::map<std::uint32_t, std::uint64_t> ends;  // by file
  for (std::size_t i = 0; i < types.size(); ++i) {
    model::TensorInfo& tensor = inputs.profile.tensors[i];
    std::uint64_t& end = ends.try_emplace(tensor.file, tensor.offset).first->second;
    tensor.type = types[i];
    tensor.bytes = Bytes{tensor.row_bytes().value * static_cast<std::uint64_t>(tensor.rows())};
    tensor.offset = end;
    end = align_up(end + tensor.bytes.value, std::uint64_t{32});
  }
  for (TensorUse& use : inputs.run.demand.uses) {
    const auto* const rate = inputs.machine.compute.find(ggml_type_name(types[use.tensor]));
    use.repacked =
        rate != nullptr && rate->repack_bytes_per_s.has_value() && (use.by_rows || use.expert_group);
  }
  return inputs;
}

}  // namespace brimful::plan

#include "engine/quantisation_mix.h"

#include <llama-ext.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <memory>

namespace brimful::engine {

const std::vector<QuantisationMix>& quantisation_mixes() {
  static const std::vector<QuantisationMix> mixes{
      {"BF16", LLAMA_FTYPE_MOSTLY_BF16, 0.0},        {"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0, 0.0026},
      {"Q6_K", LLAMA_FTYPE_MOSTLY_Q6_K, 0.0217},     {"Q5_K_M", LLAMA_FTYPE_MOSTLY_Q5_K_M, 0.0569},
      {"Q5_K_S", LLAMA_FTYPE_MOSTLY_Q5_K_S, 0.1049}, {"Q4_K_M", LLAMA_FTYPE_MOSTLY_Q4_K_M, 0.1754},
      {"Q4_K_S", LLAMA_FTYPE_MOSTLY_Q4_K_S, 0.2689}, {"IQ4_XS", LLAMA_FTYPE_MOSTLY_IQ4_XS, std::nullopt},
      {"Q3_K_L", LLAMA_FTYPE_MOSTLY_Q3_K_L, 0.5562}, {"Q3_K_M", LLAMA_FTYPE_MOSTLY_Q3_K_M, 0.6569},
      {"Q3_K_S", LLAMA_FTYPE_MOSTLY_Q3_K_S, 1.6321}, {"Q2_K", LLAMA_FTYPE_MOSTLY_Q2_K, 3.5199},
  };
  return mixes;
}

const std::vector<QuantisationMix>& all_quantisation_mixes() {
  static const std::vector<QuantisationMix> mixes = [] {
    std::vector<QuantisationMix> out = quantisation_mixes();
    out.insert(out.end(), {{"Q2_K_S", LLAMA_FTYPE_MOSTLY_Q2_K_S, std::nullopt},
                           {"IQ3_M", LLAMA_FTYPE_MOSTLY_IQ3_M, std::nullopt},
                           {"IQ3_XS", LLAMA_FTYPE_MOSTLY_IQ3_XS, std::nullopt},
                           {"IQ2_M", LLAMA_FTYPE_MOSTLY_IQ2_M, std::nullopt},
                           {"MXFP4_MOE", LLAMA_FTYPE_MOSTLY_MXFP4_MOE, std::nullopt}});
    return out;
  }();
  return mixes;
}

std::vector<ggml_type> types_in_mix(const llama_model& model, const model::ModelProfile& profile,
                                    const QuantisationMix& mix) {
  std::vector<ggml_type> out;
  std::deque<ggml_tensor> tensors;
  std::vector<ggml_tensor*> quantised;
  std::vector<std::size_t> index;
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = mix.type;
  params.allow_requantize = true;
  try {
    const std::unique_ptr<quantize_state_impl, decltype(&llama_quant_free)> state(
        llama_quant_init(&model, &params), llama_quant_free);
    for (const model::TensorInfo& info : profile.tensors) {
      out.push_back(info.type);
      ggml_tensor& tensor = tensors.emplace_back();
      tensor.type = GGML_TYPE_F16;  // a mix is made from this type
      std::ranges::copy(info.shape, tensor.ne);
      ggml_set_name(&tensor, info.name.c_str());
      if (!llama_quant_tensor_allows_quantization(state.get(), &tensor)) continue;
      quantised.push_back(&tensor);
      index.push_back(out.size() - 1);
    }
    std::vector<ggml_type> types(quantised.size());
    llama_quant_compute_types(state.get(), mix.type, quantised.data(), types.data(), quantised.size());
    for (std::size_t i = 0; i < types.size(); ++i) out[index[i]] = types[i];
  } catch (const std::exception&) {  // llama.cpp's quantiser does not know the architecture
    out.clear();
  }
  return out;
}

}  // namespace brimful::engine

#include "engine/graph_recording.h"

#include <algorithm>
#include <vector>

#include "engine/llama_log.h"

namespace brimful::engine {

Status record_graphs(llama_context* context, const llama_context_params& params, bool only_embeds,
                     LargestBatch largest, tier::HostDevice& host, GpuTier& gpus) {
  const std::uint32_t ubatch = params.n_ubatch;
  std::vector<llama_token> tokens(ubatch, 0);
  if (!only_embeds) tokens.resize(std::min<std::size_t>(tokens.size(), llama_n_ctx(context)));
  // Devices may compute a pass of few tokens in another way than libllama's largest one, so that its buffers
  // have no room for all results of such a pass.
  const std::size_t results = std::max<std::size_t>(gpus.empty() ? 1 : params.n_outputs_max, largest.outputs);
  llama_memory_t const memory = llama_get_memory(context);
  host.set_sequences(1);
  bool fed = true;
  // Where each sequence has cells of its own, a large pass has tokens of several sequences.
  const std::size_t most_of_sequence =
      largest.sequence_tokens > 0 ? largest.sequence_tokens : llama_n_ctx_seq(context);
  // A batch of several passes has more results than one of its passes, in buffers of their own.
  if (largest.outputs > 0)
    tokens.resize(std::min<std::size_t>(params.n_batch, params.n_seq_max * most_of_sequence), 0);
  const auto feed = [&](std::size_t count) {
    llama_batch batch = llama_batch_get_one(tokens.data(), static_cast<std::int32_t>(count));
    std::vector<std::int8_t> outputs(count, 0);
    std::fill_n(outputs.rbegin(), std::min(count, results), 1);
    if (!only_embeds) batch.logits = outputs.data();
    std::vector<llama_seq_id> ids(count);
    std::vector<llama_seq_id*> pointers(count);
    std::vector<std::int32_t> counts(count, 1);
    std::vector<llama_pos> positions(count);
    if (!only_embeds && count > most_of_sequence) {
      for (std::size_t i = 0; i < count; ++i) {
        ids[i] = static_cast<llama_seq_id>(i / most_of_sequence);
        positions[i] = static_cast<llama_pos>(i % most_of_sequence);
        pointers[i] = &ids[i];
      }
      batch.seq_id = pointers.data();
      batch.n_seq_id = counts.data();
      batch.pos = positions.data();
    }
    fed = fed && llama_decode(context, batch) == 0;
  };
  const auto feed_first = [&](std::size_t count) {
    llama_memory_clear(memory, false);
    feed(count);
  };
  if (gpus.has_experts()) {  // the host must see the graph with the experts that it may have to compute
    gpus.leave_experts(true);
    feed_first(tokens.size());
    gpus.leave_experts(false);
    feed_first(1);  // without another graph in between, libllama would reuse the first one
  }
  feed_first(tokens.size());
  // One token of each sequence: the host computes the attention although the products go to a device.
  const std::uint32_t sequences = llama_n_seq_max(context);
  if (gpus.batches_elsewhere(ubatch, sequences).attention == tier::HostDevice::Attention::kOfPrompts) {
    host.set_sequences(sequences);
    feed_first(sequences);
    host.set_sequences(1);
    feed_first(1);  // without another graph in between, libllama would reuse it
  }
  // The largest batch that stays on the host although larger ones go to a device, and the largest batch that
  // uses the slots for experts.
  for (const std::int64_t count : gpus.batch_thresholds()) {
    if (count > 0 && static_cast<std::size_t>(count) < tokens.size())
      feed_first(static_cast<std::size_t>(count));
  }
  if (tokens.size() < most_of_sequence || only_embeds) {
    feed(1);
  } else {
    feed_first(1);
  }
  llama_memory_clear(memory, false);
  if (fed) return {};
  return std::unexpected(with_llama_error(ErrorCode::kInternal, "llama.cpp cannot build this model's graph"));
}

}  // namespace brimful::engine

#pragma once

#include <brimful/export.h>
#include <brimful/result.h>

#include <string>

namespace brimful {

/// Settings of the whole process that help to keep a budget exactly, or to survive hostile input. The library changes
/// none of them by itself. A program that belongs to nobody else, such as `brimful`, sets them all.
struct ProcessSettings {
  /// malloc keeps one heap for all threads, and gives large blocks back to the kernel at once. Without it, each
  /// thread may keep some MiB of the budget that nobody uses.
  bool one_heap = false;
  /// The kernel backs memory with huge pages only where that is asked for. Without it, one byte of a stack may take
  /// 2 MiB of the budget.
  bool small_pages = false;
  /// While a grammar, a schema or a chat template is read, handlers for SIGSEGV, a timer's signal (SIGRTMIN+3) and
  /// std::terminate end one that loops or recurses without end. Without it, a hostile one may end the process. They are
  /// installed when the first of these is read, stay, and hand on what is not theirs.
  bool signal_handlers = false;
  /// Sets GGML_CUDA_REGISTER_HOST, so that ggml can copy to GPUs from this library's memory without staging it.
  /// To be set before a GPU is used first.
  bool pinned_memory = false;
};

/// All of them.
[[nodiscard]] BRIMFUL_API ProcessSettings all_process_settings();

/// Applies the settings that are true. Call it at the start of the program: threads and memory of before keep their
/// settings. None can be taken back. Threading: while no other thread runs.
BRIMFUL_API void adjust_process(const ProcessSettings& settings);

/// Adds the devices of ggml's rpc-server at `endpoint` (`HOST:PORT`) to the GPUs of this process, as `RPC0`, `RPC1` and
/// so on: VramBudget::device takes these names. A server that goes away later, or sends wrong data, ends the process.
/// Errors: kNotFound where no server answers. Blocks: up to 10 s. Threading: as adjust_process().
[[nodiscard]] BRIMFUL_API Status add_rpc_server(const std::string& endpoint);

}  // namespace brimful

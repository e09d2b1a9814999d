#pragma once

#include <brimful/export.h>
#include <brimful/result.h>

#include <string>

namespace brimful {

/// Settings of the whole process that help to keep within a budget, or to survive hostile input. The library never
/// changes them by itself. A program of its own, such as `brimful`, can set them all; a library inside another program
/// should leave them alone.
struct ProcessSettings {
  /// malloc uses one heap for all threads, and returns large blocks to the kernel immediately. If false, each thread
  /// may keep some MiB of unused memory, which count towards the budget.
  bool one_heap = false;
  /// The kernel uses huge pages only for memory that asks for them (madvise). If false, a stack may take 2 MiB of the
  /// budget even if only one byte of it is used.
  bool small_pages = false;
  /// While a grammar, a schema or a chat template is read, handlers for SIGSEGV, for SIGRTMIN+3 (a timer) and for
  /// std::terminate stop the reading if it loops or recurses endlessly. If false, hostile input may end the process.
  /// The library installs the handlers when it reads the first of these texts, keeps them, and forwards all other
  /// signals to the handlers from before.
  bool signal_handlers = false;
  /// Sets GGML_CUDA_REGISTER_HOST, so that ggml can copy to GPUs from this library's memory without staging it.
  /// Set it before the first use of a GPU.
  bool pinned_memory = false;
};

/// Returns settings in which all fields are true.
[[nodiscard]] BRIMFUL_API ProcessSettings all_process_settings();

/// Applies the settings that are true. Call it at the start of the program: threads and memory that already exist are
/// not affected. A setting cannot be undone. Threading: call it while no other thread runs.
BRIMFUL_API void adjust_process(const ProcessSettings& settings);

/// Adds the devices of ggml's rpc-server at `endpoint` (`HOST:PORT`) to the GPUs of this process, as `RPC0`, `RPC1` and
/// so on. Use these names in VramBudget::device. If the server disconnects later, or sends invalid data, the process
/// ends. Errors: kNotFound if no server answers. Blocks: up to 10 s. Threading: call it while no other thread runs.
[[nodiscard]] BRIMFUL_API Status add_rpc_server(const std::string& endpoint);

}  // namespace brimful

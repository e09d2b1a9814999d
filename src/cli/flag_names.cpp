#include "cli/flag_names.h"

namespace brimful::cli {

const plan::OptionNames& flag_names() {
  static const plan::OptionNames names{.ram = "--ram",
                                       .vram = "--vram",
                                       .context = "-c",
                                       .ubatch = "-ub",
                                       .threads = "-t",
                                       .threads_batch = "-tb",
                                       .key_cache = "-ctk",
                                       .value_cache = "-ctv",
                                       .placement = "-ngl, --n-cpu-moe and -ot",
                                       .placement_rules = "-ot",
                                       .draft_model = "-md",
                                       .no_drafts = "--spec-type none",
                                       .prompt_tokens = "--prompt-tokens",
                                       .machine = "--like"};
  return names;
}

}  // namespace brimful::cli

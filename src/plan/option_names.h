#pragma once

#include <string>

namespace brimful::plan {

/// What an interface calls its options, for the messages of everything below it. What is not set has the name
/// of the C++ library: `budgets` and `context` are arguments of Model::plan() and Session::start().
struct OptionNames {
  std::string ram = "budgets.ram";
  std::string vram = "budgets.vram";
  std::string context = "context.tokens";
  std::string ubatch = "context.ubatch";
  std::string threads = "context.threads";
  std::string threads_batch = "context.prompt_threads";
  std::string key_cache = "context.key_cache";
  std::string value_cache = "context.value_cache";
  std::string placement = "the fields of context.placement";  ///< All that says where weights may lie.
  std::string placement_rules = "context.placement.rules";
  std::string draft_model = "context.drafts.model";
  /// What a user asks for who wants no drafts.
  std::string no_drafts = "no context.drafts";
  /// The length of the prompts that a plan is made for.
  std::string prompt_tokens = "prompt_tokens";
  /// How a plan for another machine is asked for.
  std::string machine = "Machine::like()";
};

}  // namespace brimful::plan

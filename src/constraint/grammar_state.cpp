#include "constraint/grammar_state.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <regex>
#include <span>
#include <stdexcept>
#include <unordered_set>
#include <utility>

#include "constraint/grammar_factoring.h"
#include "constraint/grammar_rules.h"

namespace brimful::constraint {
namespace {

// Number of tokens that llama.cpp checks together. It takes about 256 bytes for each.
constexpr std::size_t kPart = 512;

struct Triggers {
  std::vector<std::string> patterns;  // regular expressions
  std::vector<llama_token> tokens;
};

Triggers triggers_of(const common_params_sampling& params) {
  Triggers out;
  for (const common_grammar_trigger& trigger : params.grammar_triggers) {
    switch (trigger.type) {
      case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN: out.tokens.push_back(trigger.token); break;
      case COMMON_GRAMMAR_TRIGGER_TYPE_WORD: out.patterns.push_back(regex_escape(trigger.value)); break;
      case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN: out.patterns.push_back(trigger.value); break;
      case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL: {
        const std::string& inner = trigger.value;
        out.patterns.push_back((inner.starts_with('^') ? "" : "^") + inner +
                               (inner.ends_with('$') ? "" : "$"));
        break;
      }
    }
  }
  return out;
}

bool is_token_rule(const llama_grammar_element& element) {
  return element.type == LLAMA_GRETYPE_TOKEN || element.type == LLAMA_GRETYPE_TOKEN_NOT;
}

/// Whether a character is in the set that one element of a grammar, with its alternatives, stands for.
bool contains(const llama_grammar_element* element, std::uint32_t character) {
  const bool excludes = element->type == LLAMA_GRETYPE_CHAR_NOT;
  bool found = false;
  do {
    const bool is_range = element[1].type == LLAMA_GRETYPE_CHAR_RNG_UPPER;
    found = found || element->type == LLAMA_GRETYPE_CHAR_ANY ||
            (is_range ? element->value <= character && character <= element[1].value
                      : element->value == character);
    element += is_range ? 2 : 1;
  } while (element->type == LLAMA_GRETYPE_CHAR_ALT);
  return found != excludes;
}

bool is_single_character(const llama_grammar_element* element) {
  return element->type == LLAMA_GRETYPE_CHAR && element[1].type != LLAMA_GRETYPE_CHAR_RNG_UPPER &&
         element[1].type != LLAMA_GRETYPE_CHAR_ALT;
}

}  // namespace

std::vector<llama_token> prefilled_tokens(const llama_vocab* vocab, const common_params_sampling& params) {
  const std::string& prompt = params.generation_prompt;
  if (prompt.empty()) return {};
  std::vector<llama_token> out = common_tokenize(vocab, prompt, false, true);
  const auto is_space = [](const std::string& text) {
    return !text.empty() && std::isspace(static_cast<unsigned char>(text[0])) != 0;
  };
  // Some tokenizers put a space before the first token, which is not in the template's text.
  if (!out.empty() && is_space(common_token_to_piece(vocab, out[0], true)) && !is_space(prompt))
    out.erase(out.begin());
  return out;
}

void GrammarState::Deleter::operator()(llama_grammar* grammar) const { llama_grammar_free_impl(grammar); }

GrammarState::GrammarState(const llama_vocab* vocab, const FirstCharacters& first,
                           const common_params_sampling& params)
    : vocab_(vocab), first_(first) {
  {
    llama_grammar_parser parser = parse_grammar(common_grammar_value(params.grammar), vocab);
    factor_rules(parser.rules);
    std::vector<const llama_grammar_element*> rules = parser.c_rules();
    grammar_.reset(llama_grammar_init_impl(vocab, rules.data(), rules.size(), parser.symbol_ids.at("root")));
  }
  if (grammar_ == nullptr) throw std::runtime_error("llama.cpp refuses it");
  grammar_->lazy = grammar_->awaiting_trigger = params.grammar_lazy;
  Triggers triggers = triggers_of(params);
  grammar_->trigger_tokens = std::move(triggers.tokens);
  for (std::string& pattern : triggers.patterns) {
    llama_grammar_trigger_pattern& trigger = grammar_->trigger_patterns.emplace_back();
    trigger.regex = std::regex(pattern);
    trigger.pattern = std::move(pattern);
  }
  if (params.grammar_lazy || !common_grammar_needs_prefill(params.grammar)) return;
  for (const llama_token token : prefilled_tokens(vocab, params)) accept(token);
}

GrammarState::~GrammarState() = default;

bool GrammarState::allows(llama_token token) const {
  llama_token_data one{token, 1, 0};
  llama_token_data_array array{&one, 1, -1, false};
  llama_grammar_apply_impl(*grammar_, &array);
  return std::isfinite(one.logit);
}

/// For each group of first characters, whether a token of the group may come next. Empty when first
/// characters do not decide that.
std::vector<bool> GrammarState::allowed_groups() const {
  if (grammar_->partial_utf8.n_remain != 0) return {};  // the next token begins inside a character
  std::unordered_set<std::uint32_t> characters;
  std::unordered_set<const llama_grammar_element*> sets;
  for (const llama_grammar_stack& stack : grammar_->stacks) {
    if (stack.empty()) continue;
    const llama_grammar_element* const top = stack.back();
    if (is_token_rule(*top)) return {};
    if (is_single_character(top)) {
      characters.insert(top->value);
    } else {
      sets.insert(top);
    }
  }
  const std::vector<std::uint32_t>& all = first_.characters();
  std::vector<bool> out(all.size());
  for (std::size_t group = 0; group < all.size(); ++group) {
    out[group] = group == FirstCharacters::kNone || characters.contains(all[group]) ||
                 std::ranges::any_of(sets, [&](const auto* set) { return contains(set, all[group]); });
  }
  return out;
}

bool GrammarState::filter(std::vector<llama_token_data>& candidates) const {
  if (grammar_->awaiting_trigger) return true;
  const std::vector<bool> allowed = allowed_groups();
  std::vector<std::size_t> places;  // indexes of the candidates in `part`
  std::vector<llama_token_data> part;
  bool some_left = false;
  const auto look = [&] {
    llama_token_data_array array{part.data(), part.size(), -1, false};
    llama_grammar_apply_impl(*grammar_, &array);
    for (std::size_t i = 0; i < part.size(); ++i) {
      candidates[places[i]].logit = part[i].logit;
      some_left = some_left || std::isfinite(part[i].logit);
    }
    places.clear();
    part.clear();
  };
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!allowed.empty() && !allowed[first_.group_of(candidates[i].id)]) {
      candidates[i].logit = -INFINITY;
      continue;
    }
    places.push_back(i);
    part.push_back(candidates[i]);
    if (part.size() == kPart) look();
  }
  if (!part.empty()) look();
  return some_left;
}

void GrammarState::accept(llama_token token) {
  // llama.cpp would end the process when the text may not end here.
  if (!grammar_->awaiting_trigger && llama_vocab_is_eog(vocab_, token) &&
      std::ranges::none_of(grammar_->stacks, [](const auto& stack) { return stack.empty(); }))
    throw std::runtime_error("the text may not end here");
  llama_grammar_accept_impl(*grammar_, token);
}

}  // namespace brimful::constraint

#include "chat/chat_templates.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "foreign/foreign_limits.h"
#include "foreign/library_reason.h"
#include "hardware/child_process.h"

namespace brimful::chat {
namespace {

// The largest size of a template, in bytes.
constexpr std::size_t kLongest = 1 << 20;
// The largest size of one expression or statement, in bytes.
constexpr std::size_t kLongestTag = 16 << 10;
// The largest depth of blocks, and of brackets in one expression.
constexpr int kDeepest = 200;
// The largest number of `elif`s. llama.cpp nests each one in the one before.
constexpr int kMostElifs = 2000;
// How long a template may take in the child process.
constexpr std::chrono::milliseconds kTrial{4000};

std::unexpected<Error> refused(std::string why) { return fail(ErrorCode::kUnsupported, std::move(why)); }

/// The name in `{% NAME`, without the marks that trim white space.
std::string_view statement_name(std::string_view tag) {
  const std::size_t begin = tag.find_first_not_of(" \t\r\n-+");
  if (begin == std::string_view::npos) return {};
  tag.remove_prefix(begin);
  return tag.substr(0, std::min(tag.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), tag.size()));
}

bool opens_block(std::string_view name, std::string_view tag) {
  constexpr std::array<std::string_view, 10> kBlocks{"if",   "for",   "macro",      "call",       "filter",
                                                     "with", "block", "generation", "autoescape", "raw"};
  // A `set` without a value is a block.
  return std::ranges::find(kBlocks, name) != kBlocks.end() ||
         (name == "set" && tag.find('=') == std::string_view::npos);
}

/// Reads a template as llama.cpp's lexer does: as text, and tags that contain quoted strings.
class TemplateText {
 public:
  explicit TemplateText(std::string_view text) : text_(text) {}

  Status check() {
    if (text_.size() > kLongest) return refused(fmt::format("it has more than {} KiB", kLongest >> 10));
    while (at_ < text_.size()) {
      const std::size_t open = text_.find('{', at_);
      if (open == std::string_view::npos || open + 1 >= text_.size()) return {};
      const char kind = text_[open + 1];
      at_ = open + 1;
      if (kind == '#') {
        const std::size_t end = text_.find("#}", at_ + 1);
        if (end == std::string_view::npos) return {};
        at_ = end + 2;
      } else if (kind == '%' || kind == '{') {
        at_ = open + 2;
        BRIMFUL_TRY_VOID(tag(kind == '%' ? '%' : '}'));
      }
    }
    return {};
  }

 private:
  /// Reads a tag from behind its opening mark.
  Status tag(char close) {
    const std::size_t begin = at_;
    int depth = 0;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (at_ - begin > kLongestTag)
        return refused(fmt::format("one of its expressions has more than {} KiB", kLongestTag >> 10));
      if (c == '"' || c == '\'') {
        skip_string(c);
      } else if (depth <= 0 && c == close && at_ + 1 < text_.size() && text_[at_ + 1] == '}') {
        const std::string_view inside = text_.substr(begin, at_ - begin);
        at_ += 2;
        return close == '%' ? statement(inside) : Status{};
      } else if (c == '(' || c == '[' || c == '{') {
        if (++depth > kDeepest) return too_deep();
      } else if (c == ')' || c == ']' || c == '}') {
        --depth;
      }
    }
    return {};
  }

  void skip_string(char quote) {
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
  }

  Status statement(std::string_view inside) {
    const std::string_view name = statement_name(inside);
    if (name == "elif" && ++elifs_ > kMostElifs) return too_deep();
    if (name.starts_with("end")) --blocks_;
    if (opens_block(name, inside) && ++blocks_ > kDeepest) return too_deep();
    return {};
  }

  static std::unexpected<Error> too_deep() {
    return refused(fmt::format("is nested more than {} levels deep", kDeepest));
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  int blocks_ = 0;
  int elifs_ = 0;
};

common_chat_msg message(const char* role, const char* content) {
  common_chat_msg out;
  out.role = role;
  out.content = content;
  return out;
}

/// Checks that the template ends by itself, for one question and for a conversation. It does not matter what
/// it writes, or whether it refuses them.
Status try_template(const llama_model* model, const std::string& text) {
  const auto tried = foreign::fenced(foreign::foreign_limits().reading, [&](const foreign::Fence&) {
    const common_chat_templates_ptr templates = common_chat_templates_init(model, text);
    for (const bool long_one : {false, true}) {
      common_chat_templates_inputs inputs;
      if (long_one)
        inputs.messages = {message("system", "Be brief."), message("user", "Hello"),
                           message("assistant", "Hello")};
      inputs.messages.push_back(message("user", "Who are you?"));
      try {
        (void)common_chat_templates_apply(templates.get(), inputs);
      } catch (const std::exception&) {  // the template may want other roles
      }
    }
  });
  return tried ? Status{} : std::unexpected(tried.error());
}

/// The same in a child process, so that a template which crashes or never ends does no harm.
Status try_in_own_process(const llama_model* model, const std::string& text) {
  using How = hardware::ChildEnd::How;
  const hardware::ChildEnd end = hardware::run_in_child(
      [&] {
        const Status tried = try_template(model, text);
        return tried ? std::string() : tried.error().message;
      },
      kTrial);
  if (end.how == How::kKilled || end.how == How::kExited)
    return refused("it crashes the library that reads it, as endless recursion does");
  if (end.how == How::kTimedOut)
    return refused(fmt::format("it takes more than {} s", kTrial.count() / 1000));
  if (end.how == How::kReturned && !end.text.empty()) return refused(foreign::library_reason(end.text));
  return {};
}

}  // namespace

Status check_template_text(std::string_view text) { return TemplateText(text).check(); }

Result<common_chat_templates_ptr> read_chat_templates(const llama_model* model, const std::string& text) {
  BRIMFUL_TRY_VOID(check_template_text(text));
  for (const char* const name : {static_cast<const char*>(nullptr), "tool_use"}) {
    const char* const own = llama_model_chat_template(model, name);
    if (own != nullptr && text.empty()) BRIMFUL_TRY_VOID(check_template_text(own));
  }
  BRIMFUL_TRY_VOID(try_in_own_process(model, text));
  auto read =
      foreign::read_foreign([&](const foreign::Fence&) { return common_chat_templates_init(model, text); });
  if (!read) return refused(foreign::library_reason(read.error().message));
  return read;
}

common_chat_params apply_chat_templates(const common_chat_templates* templates,
                                        const common_chat_templates_inputs& inputs) {
  auto out = foreign::read_foreign(
      [&](const foreign::Fence&) { return common_chat_templates_apply(templates, inputs); });
  if (!out) throw std::runtime_error(foreign::library_reason(out.error().message));
  return std::move(*out);
}

Result<common_chat_parser_params> read_chat_parser(const common_chat_params& applied) {
  return foreign::read_foreign([&](const foreign::Fence&) {
    common_chat_parser_params parser(applied);
    if (!applied.parser.empty()) parser.parser.load(applied.parser);
    return parser;
  });
}

common_chat_msg parse_chat_answer(const std::string& text, bool is_partial,
                                  const common_chat_parser_params& params) {
  // This does not wait for ForeignReading: streamed answers must not wait for a slow template.
  auto out = foreign::fenced(foreign::foreign_limits().reading, [&](const foreign::Fence&) {
    return common_chat_parse(text, is_partial, params);
  });
  if (!out) throw std::runtime_error(foreign::library_reason(out.error().message));
  return std::move(*out);
}

}  // namespace brimful::chat

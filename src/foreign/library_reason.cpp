#include "foreign/library_reason.h"

#include <algorithm>

#include "base/visible_text.h"

namespace brimful::foreign {

std::string library_reason(std::string_view what) {
  constexpr std::string_view kLastPart = "\nError: ";  // it follows a drawing of the place in a template
  if (const std::size_t at = what.rfind(kLastPart); at != std::string_view::npos) {
    what.remove_prefix(at + kLastPart.size());
  } else if (const std::size_t first = what.find_first_not_of("\n\r -"); first != std::string_view::npos) {
    what.remove_prefix(first);
  }
  for (const std::string_view headline :
       {"Unable to generate parser for this template. Automatic parser generation failed: ",
        "JSON schema conversion failed:\n", "JSON schema error at ", "Jinja Exception: "}) {
    if (what.starts_with(headline)) what.remove_prefix(headline.size());
  }
  // llama.cpp throws a copy of the base class, which has lost the message.
  if (what == "std::exception") return "it does not follow the language of chat templates";
  constexpr std::size_t kEnough = 300;
  return visible_text(what.substr(0, std::min(what.find('\n'), kEnough)));
}

}  // namespace brimful::foreign

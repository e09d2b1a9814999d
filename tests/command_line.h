#pragma once

#include <string>
#include <vector>

namespace brimful::tests {

/// The command `brimful ARGUMENTS` in the form that exec takes. Lifetime: argv() is valid as long as this
/// object exists.
class CommandLine {
 public:
  explicit CommandLine(const std::vector<std::string>& arguments) : words_{"brimful"} {
    words_.insert(words_.end(), arguments.begin(), arguments.end());
    for (std::string& word : words_) argv_.push_back(word.data());
    argv_.push_back(nullptr);
  }
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;
  [[nodiscard]] char* const* argv() const { return argv_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> argv_;
};

}  // namespace brimful::tests

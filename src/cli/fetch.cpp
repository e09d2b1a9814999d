#include "cli/fetch.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>

#include "base/progress.h"
#include "base/standard_error.h"
#include "base/visible_text.h"
#include "cli/start.h"

namespace brimful::cli {
namespace {

constexpr std::chrono::seconds kBetweenLines{60};

/// Where stderr is no terminal, such as in a log: a line with the progress each minute.
class ProgressLines {
 public:
  ProgressLines(Bytes total, Bytes already) : total_(total), already_(already) {}

  void update(Bytes done) {
    const auto now = std::chrono::steady_clock::now();
    if (terminal_ || now - told_ < kBetweenLines) return;
    told_ = now;
    tell("{}\n", progress_text("fetching", done, total_, now - begin_, already_));
  }

 private:
  const Bytes total_;
  const Bytes already_;
  const bool terminal_ = ::isatty(STDERR_FILENO) != 0;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point told_ = begin_;
};

}  // namespace

Result<std::filesystem::path> download_and_show(const hub::Settings& settings, const hub::HubCache& cache,
                                                const hub::HubFiles& model) {
  // A server may close a connection while a request is written to it; libcurl then reports an error.
  std::signal(SIGPIPE, SIG_IGN);
  const auto bar = std::make_shared<std::optional<ProgressBar>>();
  const auto lines = std::make_shared<std::optional<ProgressLines>>();
  const std::size_t parts = model.files.size();
  auto path =
      hub::download_model(settings, cache, model, [&](const hub::RemoteFile& file, std::size_t number) {
        return hub::DownloadListener{
            .begins =
                [&file, number, parts, bar, lines](Bytes already) {
                  const std::string name = visible_lines(file.path.substr(file.path.rfind('/') + 1));
                  tell(
                      "fetching {}{}: {}{}\n", name,
                      parts > 1 ? fmt::format(" ({} of {})", number + 1, parts) : "",
                      format_bytes(Bytes{file.size}),
                      already > Bytes{} ? fmt::format(", of which {} are there", format_bytes(already)) : "");
                  bar->emplace("fetching", Bytes{file.size}, already);
                  lines->emplace(Bytes{file.size}, already);
                },
            .progress =
                [bar, lines](Bytes done) {
                  if (*bar) (*bar)->update(done);
                  if (*lines) (*lines)->update(done);
                },
            .note =
                [bar](const std::string& note) {
                  if (*bar) (*bar)->wipe();
                  tell_note(note);
                }};
      });
  bar->reset();
  return path;
}

}  // namespace brimful::cli

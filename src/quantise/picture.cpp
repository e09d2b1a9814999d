#include "quantise/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/bytes.h"

namespace brimful::quantise {
namespace {

constexpr double kWidth = 820;
constexpr double kHeight = 480;
constexpr double kLeft = 80;
constexpr double kRight = 90;
constexpr double kTop = 44;
constexpr double kBottom = 52;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (static_cast<unsigned char>(c) >= 0x20)
      out += c;
  }
  return out;
}

/// A logarithmic axis.
struct Axis {
  double low = INFINITY;
  double high = 0;
  void take(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  [[nodiscard]] double place(double value) const {
    return high > low ? (std::log(value) - std::log(low)) / (std::log(high) - std::log(low)) : 0.5;
  }
};

std::string size_text(double bytes) { return format_bytes(Bytes{static_cast<std::uint64_t>(bytes)}); }

}  // namespace

std::string picture(const std::string& title, const std::vector<PicturePoint>& curve,
                    const std::vector<PicturePoint>& mixes, const PicturePoint& chosen) {
  Axis bytes;
  Axis loss;
  const auto can_be_drawn = [](const PicturePoint& point) { return point.loss > 0 && point.bytes > 0; };
  for (const auto* const points : {&curve, &mixes}) {
    for (const PicturePoint& point : *points) {
      if (!can_be_drawn(point)) continue;
      bytes.take(point.bytes);
      loss.take(point.loss);
    }
  }
  if (can_be_drawn(chosen)) {
    bytes.take(chosen.bytes);
    loss.take(chosen.loss);
  }
  const auto x = [&](double value) { return kLeft + bytes.place(value) * (kWidth - kLeft - kRight); };
  const auto y = [&](double value) {
    return kHeight - kBottom - loss.place(value) * (kHeight - kTop - kBottom);
  };

  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n"
      "<text x=\"{2}\" y=\"24\" font-size=\"15\">{3}</text>\n",
      kWidth, kHeight, kLeft, escaped(title));
  if (loss.high > 0) {
    for (int i = 0; i <= 4; ++i) {
      const double share = i / 4.0;
      const double at = bytes.low * std::pow(bytes.high / bytes.low, share);
      const double value = loss.low * std::pow(loss.high / loss.low, share);
      out += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#e4e4e4\"/>"
          "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n",
          x(at), kTop, kHeight - kBottom, kHeight - kBottom + 18, size_text(at));
      out += fmt::format(
          "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#e4e4e4\"/>"
          "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.2g}</text>\n",
          kLeft, kWidth - kRight, y(value), kLeft - 6, y(value) + 4, value);
    }
  }
  out += fmt::format(
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">bytes of the file</text>\n"
      "<text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">predicted KL divergence, nats "
      "per "
      "token</text>\n",
      (kLeft + kWidth - kRight) / 2, kHeight - 12, (kTop + kHeight - kBottom) / 2);
  std::string line;
  for (const PicturePoint& point : curve) {
    if (can_be_drawn(point))
      line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? "M" : " L", x(point.bytes), y(point.loss));
  }
  if (!line.empty())
    out += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"#0a6\" stroke-width=\"2\"/>\n", line);
  for (const PicturePoint& point : mixes) {
    if (!can_be_drawn(point)) continue;
    out += fmt::format(
        "<circle cx=\"{0:.1f}\" cy=\"{1:.1f}\" r=\"3.5\" fill=\"#888\"/><text x=\"{2:.1f}\" y=\"{3:.1f}\" "
        "fill=\"#555\">{4}</text>\n",
        x(point.bytes), y(point.loss), x(point.bytes) + 6, y(point.loss) - 5, escaped(point.name));
  }
  if (can_be_drawn(chosen))
    out += fmt::format(
        "<circle cx=\"{0:.1f}\" cy=\"{1:.1f}\" r=\"5.5\" fill=\"#c30\"/><text x=\"{2:.1f}\" y=\"{3:.1f}\" "
        "fill=\"#c30\" text-anchor=\"end\">{4}</text>\n",
        x(chosen.bytes), y(chosen.loss), x(chosen.bytes) - 8, y(chosen.loss) + 16, escaped(chosen.name));
  return out + "</svg>\n";
}

}  // namespace brimful::quantise

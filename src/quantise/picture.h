#pragma once

#include <string>
#include <vector>

namespace brimful::quantise {

/// A point of the picture: a file, and the loss that its types are predicted to have.
struct PicturePoint {
  std::string name;  ///< Empty for a point of the curve.
  double bytes = 0;
  double loss = 0;  ///< Nats per token.
};

/// Draws loss against bytes as SVG: the curve of the best choices, the mixes of llama.cpp as named points,
/// and the choice that was made. Both axes are logarithmic. Points without loss are left out. Pure.
[[nodiscard]] std::string picture(const std::string& title, const std::vector<PicturePoint>& curve,
                                  const std::vector<PicturePoint>& mixes, const PicturePoint& chosen);

}  // namespace brimful::quantise

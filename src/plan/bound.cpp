#include <brimful/forecast.h>

namespace brimful {

std::string_view to_string(Bound bound) {
  switch (bound) {
    case Bound::kCompute: return "compute";
    case Bound::kRam: return "RAM bandwidth";
    case Bound::kDisk: return "disk";
    case Bound::kGpu: return "GPU";
    case Bound::kLink: return "PCIe";
  }
  return "";
}

}  // namespace brimful

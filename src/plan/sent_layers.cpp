#include "plan/sent_layers.h"

#include <algorithm>
#include <set>
#include <utility>

namespace brimful::plan {
namespace {

/// Gives a device the rows of `all` whose matrices are computed by rows on the host, in layers that are sent
/// to the device.
void take_rows(const model::ModelProfile& profile, const std::vector<TensorUse>& host,
               const std::vector<DeviceRows>& all, DeviceShare& device) {
  for (const DeviceRows& rows : all) {
    const auto use = std::ranges::find(host, rows.tensor, &TensorUse::tensor);
    if (use == host.end() || !use->by_rows || use->whole) continue;
    const std::vector<int>& sent = device.sent_layers;
    if (std::ranges::find(sent, *profile.tensors[rows.tensor].layer) != sent.end())
      device.rows.push_back(rows);
  }
}

}  // namespace

void deal_sent_layers(const model::ModelProfile& profile, const std::vector<DeviceBudget>& budgets,
                      DeviceSplit& split) {
  const bool for_experts = std::ranges::any_of(split.devices, &DeviceShare::ring_for_experts);
  struct Link {
    DeviceShare* device;
    double rate;
    double due;  // of the layers that were dealt out, those that it should have more
  };
  std::vector<Link> links;
  double all = 0;
  for (DeviceShare& device : split.devices) {
    if (device.ring > Bytes{} && device.ring_for_experts == for_experts) {
      links.push_back({&device, device.gpu.host_to_device_bytes_per_s.value_or(kUnknownLink), 0});
      all += links.back().rate;
    } else {
      device.unused += std::exchange(device.ring, {});
    }
  }
  std::set<int> layers;
  for (const TensorUse& use : split.host.uses) {
    const model::TensorInfo& tensor = profile.tensors[use.tensor];
    if ((use.by_rows || use.whole) && tensor.layer) layers.insert(*tensor.layer);
  }
  if (links.empty()) return;
  for (const int layer : layers) {
    for (Link& link : links) link.due += link.rate / all;
    Link& next = *std::ranges::max_element(links, {}, &Link::due);
    next.device->sent_layers.push_back(layer);
    next.due -= 1;
  }
  for (std::size_t i = 0; i < budgets.size(); ++i)
    take_rows(profile, split.host.uses, budgets[i].rows, split.devices[i]);
}

}  // namespace brimful::plan

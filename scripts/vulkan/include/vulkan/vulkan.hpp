// Vulkan's header, and what llama.cpp v0.5.0 uses of VK_EXT_layer_settings where the header is older than that (1.3.272).
#pragma once

#include_next <vulkan/vulkan.hpp>

#ifndef VK_EXT_layer_settings
#include <vector>

namespace VULKAN_HPP_NAMESPACE {

enum class LayerSettingTypeEXT { eBool32 };

struct LayerSettingEXT {
  const char* layer;
  const char* name;
  LayerSettingTypeEXT type;
  std::uint32_t count;
  const void* values;
};

struct LayerSettingsCreateInfoEXT {
  explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT>& all)
      : count(static_cast<std::uint32_t>(all.size())), settings(all.data()) {}
  VkStructureType type = static_cast<VkStructureType>(1000496000);
  const void* next = nullptr;
  std::uint32_t count;
  const LayerSettingEXT* settings;
};

}  // namespace VULKAN_HPP_NAMESPACE
#endif

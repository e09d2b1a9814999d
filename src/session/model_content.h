#pragma once

#include <brimful/model.h>

#include <filesystem>

#include "model/model_profile.h"

namespace brimful {

/// The content of a Model.
struct Model::Content {
  std::filesystem::path path;
  model::ModelProfile profile;
};

}  // namespace brimful

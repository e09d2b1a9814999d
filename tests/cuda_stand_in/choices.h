// The choice of experts: the one thing that is computed, because the program reads it back and works by it.
#pragma once

#include <functional>
#include <set>
#include <string_view>

#include "kernels.h"
#include "tensors.h"

namespace stand_in {

/// What a kernel that sorts or picks experts writes; nothing for other kernels. For each token it is another
/// part of a sequence that goes through all experts, so that some come more often than others and all of them
/// come.
std::function<void()> choosing(std::string_view kernel, const Launch& launch);

/// The different numbers of matrices that the choices name, as far as there are such matrices.
std::set<std::int32_t> numbers_of(const Choices& choices);

/// Says in the journal where a token's numbers are not those of different matrices: CUDA's kernels do not
/// check that, and then leave rows unwritten, or write behind the result.
void check_choices(const Choices& choices, std::string_view kernel);

}  // namespace stand_in

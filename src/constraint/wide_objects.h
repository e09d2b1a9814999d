#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace brimful::constraint {

/// llama.cpp turns an object with n optional properties into a grammar in time that grows with the third
/// power of n: 500 properties take 9 s, 2000 take minutes. For objects with many of them, two steps go around
/// that: the schema is changed so that all properties are required and the optional ones carry a mark in
/// their names, and the rule of such an object in llama.cpp's grammar is written anew, with the marks taken
/// out.

/// Marks optional properties of wide objects, in place. Returns whether it marked some. A wide object that
/// allows further properties loses that: answers follow the schema, but do not use it. Schemas with
/// references into properties stay as they are.
bool mark_wide_objects(nlohmann::ordered_json& schema);

/// Takes the marks out of a grammar that llama.cpp made of a marked schema: the marked properties become
/// optional, in their order, behind the required ones, as llama.cpp has it. The size grows by a constant for
/// each property. Errors: kInternal where the grammar does not look as expected.
[[nodiscard]] Result<std::string> unmark_wide_objects(const std::string& grammar);

}  // namespace brimful::constraint

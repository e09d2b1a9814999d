#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace brimful::constraint {

/// llama.cpp turns an object with n optional properties into a grammar in time that grows with the third
/// power of n: 500 properties take 9 s, 2000 take minutes. Two steps avoid that for objects with many
/// optional properties. First, the schema is changed: all properties become required, and the names of the
/// optional ones get a mark. Then the rule of such an object in llama.cpp's grammar is written anew, without
/// the marks.

/// Marks the optional properties of wide objects, in place. Returns whether it marked any. A wide object that
/// allows additional properties loses that: answers still follow the schema, but have no additional
/// properties. A schema with references into properties stays as it is.
bool mark_wide_objects(nlohmann::ordered_json& schema);

/// Removes the marks from a grammar that llama.cpp made of a marked schema. The marked properties become
/// optional, in their order, behind the required ones, as llama.cpp does it. The size grows by a constant for
/// each property. Errors: kInternal when the grammar does not have the expected form.
[[nodiscard]] Result<std::string> unmark_wide_objects(const std::string& grammar);

}  // namespace brimful::constraint

// Where a part of a value stands in the text that it was made from.
#pragma once

#include "init/config/tree.h"

namespace muster::config {

// `part` is a part of `whole`, in the same memory, and `whole` what the form says.
Location locate(const Form& form, View whole, View part);
// The same of what an instantiated template says: as near as its places tell.
Place locate(const Node& node, View whole, View part);

} // namespace muster::config

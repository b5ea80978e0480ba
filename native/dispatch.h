// The choice of the kernels that this build contains and this processor can run.
#pragma once

#include <vector>

#include "kernel.h"

namespace elman {

// Returns the kernels, widest vectors first; never empty. They live as long as the process.
const std::vector<const Kernel*>& kernels();

}  // namespace elman

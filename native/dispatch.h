// Which kernels this build has and this processor can run.
#pragma once

#include <vector>

#include "kernel.h"

namespace elman {

// Widest first; never empty.
const std::vector<const Kernel*>& kernels();

}  // namespace elman

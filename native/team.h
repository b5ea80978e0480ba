// The threads that the kernel's calls run on, and the memory they work in.
#pragma once

#include <cstddef>

#include "kernel.h"

namespace elman {

typedef void (*Work)(void* context, Team& team, Int thread);

// A further thread must save more than it costs. Between two points where the threads meet, each needs about this many
// multiply-adds: in a call of many steps, and in one of a single step, which has to bring the threads together first.
constexpr Int WORTH_A_MEETING = Int(1) << 16, WORTH_A_CALL = Int(1) << 18;
// Calls with fewer multiply-adds never use OpenMP's threads: they wait for each other even when another process has
// their processor.
constexpr Int WORTH_OPEN_MP = Int(1) << 22;
// How long a call waits for its threads to come, at 5 ns a look: a small share of what they save.
constexpr Int OPERATIONS_A_LOOK = 2000, MOST_LOOKS = 40'000;

// As many of `threads` as have `worth` multiply-adds each, at least one.
inline Int worthwhile(Int threads, Int operations, Int worth) {
  const Int useful = operations / worth < threads ? operations / worth : threads;
  return useful > 1 ? useful : 1;
}

// Runs `work` on up to `threads` threads at once and returns when all have ended. `operations` is the number of
// multiply-adds of the whole call. The threads are OpenMP's, where `share_threads` found them, or else those of a pool
// of our own; while that pool is busy for another caller, or its threads do not come in time, the caller works with fewer
// or alone.
void run(Int threads, Int operations, Work work, void* context);

// From now on uses the OpenMP threads of the library that is loaded in this process with global symbols, as
// PyTorch's is: two pools side by side would spin against each other. Returns whether there is one. In a forked child it
// does nothing and returns false.
bool share_threads();

// A block of memory, 64-byte aligned and not cleared; given back, it is kept for the next call that needs one, so
// that a training step touches no fresh pages. At most KEPT bytes lie idle.
class Block {
 public:
  explicit Block(size_t bytes);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  char* data() const { return data_; }
  size_t size() const { return bytes_; }

 private:
  char* data_;
  size_t bytes_;
};
#ifndef ELMAN_KEPT
#define ELMAN_KEPT (size_t(256) << 20)
#endif
constexpr size_t KEPT = ELMAN_KEPT;

}  // namespace elman

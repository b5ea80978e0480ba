// The threads that the kernel's calls run on, and the memory they work in.
#pragma once

#include <cstddef>

#include "kernel.h"

namespace elman {

typedef void (*Work)(void* context, Team& team, Int thread);

// Multiply-adds that each thread needs between two points where the threads meet, so that one more thread saves more
// than it costs: in a call of many steps, and in a call of one step, which has to wake the threads first.
constexpr Int WORTH_A_MEETING = Int(1) << 16, WORTH_A_CALL = Int(1) << 18;
// Calls with fewer multiply-adds never use OpenMP's threads. Those wait for each other even while another process runs
// on their processor.
constexpr Int WORTH_OPEN_MP = Int(1) << 22;
// Length of a call's wait for its threads, in looks of 5 ns each: a small share of the time that the threads save.
constexpr Int OPERATIONS_A_LOOK = 2000, MAX_LOOKS = 40'000;

// Returns the number of threads, from 1 to `threads`, that leaves each at least `worth` of `operations` multiply-adds.
inline Int worthwhile(Int threads, Int operations, Int worth) {
  const Int useful = operations / worth < threads ? operations / worth : threads;
  return useful > 1 ? useful : 1;
}

// Runs `work` on several threads at once and returns when all have finished.
//   threads     in, the largest number of threads, the caller included
//   operations  in, the multiply-adds of the whole call
//   work        in, called once by each thread with `context`
// The threads are OpenMP's after `share_threads`, otherwise those of Elman's own pool. While the pool works for another
// caller, or if its threads do not come in time, the caller works with fewer threads or alone.
void run(Int threads, Int operations, Work work, void* context);

// Uses from now on the threads of the OpenMP library that this process has loaded with global symbols, such as
// PyTorch's, because two pools side by side would wait for each other. Returns whether there is such a library. In a
// forked child it does nothing and returns false.
bool share_threads();

// A block of memory, 64-byte aligned and not cleared. A block that is given back is kept for the next call that needs
// one, so that a training step touches no new pages. At most KEPT bytes are kept.
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

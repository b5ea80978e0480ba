// The threads that the kernel's calls run on, and the memory they work in.
#pragma once

#include <cstddef>

#include "kernel.h"

namespace elman {

typedef void (*Work)(void* context, Team& team, Int thread);

// Runs `work` on up to `threads` threads at once and returns when all have ended. It is the caller's threads, where
// `share_threads` found them, or else a pool of our own; while that is busy for somebody else, the caller alone.
void run(Int threads, Work work, void* context);

// From now on uses the OpenMP threads of the library that is loaded in this process with global symbols, as
// PyTorch's is: two pools side by side would spin against each other. Returns whether there is one.
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

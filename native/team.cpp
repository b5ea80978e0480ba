#include "team.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace elman {
namespace {

void yield() { sched_yield(); }

// Threads of our own. A worker that has just worked looks out for more for a while, then sleeps: a stream's
// steps follow each other within microseconds, and waking costs more than a step.
class Pool {
 public:
  static constexpr Int LOOKS = 20'000;  // some 100 us

  void run(Int threads, Work work, void* context) {
    while ((Int)workers_.size() < threads - 1) {
      auto worker = std::make_unique<Worker>();
      workers_.reserve(workers_.size() + 1);
      try {
        std::thread([this, &own = *worker, number = (Int)workers_.size() + 1] { serve(own, number); }).detach();
      } catch (const std::system_error&) {
        threads = (Int)workers_.size() + 1;  // the system gives no more: fewer compute the same
        break;
      }
      workers_.push_back(std::move(worker));
    }
    Team team{threads, yield, {}};
    work_ = work, context_ = context, team_ = &team;
    running_.store(threads - 1, std::memory_order_relaxed);
    for (Int i = 0; i < threads - 1; ++i) call(*workers_[i]);
    work(context, team, 0);
    for (Int looks = 0; running_.load(std::memory_order_acquire) > 0; ++looks) looks < 4000 ? pause() : yield();
  }

 private:
  struct Worker {
    std::atomic<Int> calls{0};  // it is called again only after it has answered
    std::atomic<bool> asleep{false};
    std::mutex mutex;
    std::condition_variable wake;
  };
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  static void call(Worker& worker) {
    worker.calls.fetch_add(1);
    if (!worker.asleep.load()) return;
    std::lock_guard lock(worker.mutex);
    worker.wake.notify_one();
  }
  void serve(Worker& worker, Int number) {
    for (Int answered = 0;; ++answered) {
      const auto called = [&] { return worker.calls.load() != answered; };
      for (Int looks = 0; !called() && looks < LOOKS; ++looks) pause();
      if (!called()) {
        std::unique_lock lock(worker.mutex);
        worker.asleep.store(true);  // before it looks once more: a caller either is seen or sees this
        worker.wake.wait(lock, called);
        worker.asleep.store(false);
      }
      work_(context_, *team_, number);
      running_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<Int> running_{0};
  Work work_ = nullptr;
  void* context_ = nullptr;
  Team* team_ = nullptr;
};

std::mutex pool_lock;
Pool* pool = nullptr;  // never deleted: its threads end with the process

struct OpenMp {
  void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
  int (*thread)() = nullptr;
  int (*threads)() = nullptr;
};
OpenMp open_mp;

struct Call {
  Work work;
  void* context;
  Team team;
};
void enter(void* data) {
  Call& call = *(Call*)data;
  // fewer than asked for may have come, the same number for all of them
  const Int size = open_mp.threads();
  __atomic_store_n(&call.team.size, size, __ATOMIC_RELAXED);
  call.work(call.context, call.team, open_mp.thread());
}

}  // namespace

bool share_threads() {
  OpenMp found;
  found.parallel = (decltype(found.parallel))dlsym(RTLD_DEFAULT, "GOMP_parallel");
  found.thread = (decltype(found.thread))dlsym(RTLD_DEFAULT, "omp_get_thread_num");
  found.threads = (decltype(found.threads))dlsym(RTLD_DEFAULT, "omp_get_num_threads");
  if (!found.parallel || !found.thread || !found.threads) return false;
  open_mp = found;
  return true;
}

void run(Int threads, Work work, void* context) {
  Team alone{1, yield, {}};
  threads = threads < MOST_THREADS ? threads : MOST_THREADS;
  if (threads <= 1) return work(context, alone, 0);
  if (open_mp.parallel) {
    Call call{work, context, {threads, yield, {}}};
    return open_mp.parallel(enter, &call, (unsigned)threads, 0);
  }
  std::unique_lock lock(pool_lock, std::try_to_lock);
  if (!lock.owns_lock()) return work(context, alone, 0);
  if (!pool) pool = new Pool;
  pool->run(threads, work, context);
}

namespace {

constexpr size_t HUGE_PAGE = size_t(2) << 20;

struct Idle {
  char* data;
  size_t bytes;
};
std::mutex idle_lock;
std::vector<Idle>& idle = *new std::vector<Idle>;  // blocks may come back while the process ends
size_t idle_bytes = 0;

}  // namespace

namespace {

// A child has none of the threads, and a lock may be held by one of them.
const int forks = pthread_atfork(nullptr, nullptr, [] {
  pool = nullptr;
  new (&pool_lock) std::mutex;
  new (&idle_lock) std::mutex;
});

}  // namespace

Block::Block(size_t wanted) : data_(nullptr) {
  const size_t alignment = wanted >= HUGE_PAGE && KEPT > 0 ? HUGE_PAGE : 64;
  const size_t bytes = wanted > alignment ? (wanted + alignment - 1) / alignment * alignment : alignment;
  {
    std::lock_guard lock(idle_lock);
    size_t best = idle.size();
    for (size_t i = 0; i < idle.size(); ++i)
      if (idle[i].bytes >= bytes && idle[i].bytes / 2 <= bytes && (best == idle.size() || idle[i].bytes < idle[best].bytes))
        best = i;
    if (best < idle.size()) {
      data_ = idle[best].data, bytes_ = idle[best].bytes;
      idle_bytes -= bytes_;
      idle[best] = idle.back();
      idle.pop_back();
      return;
    }
  }
  bytes_ = bytes;
  data_ = (char*)aligned_alloc(alignment, bytes);
  if (!data_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (alignment == HUGE_PAGE) madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
}

Block::~Block() {
  {
    std::lock_guard lock(idle_lock);
    if (idle_bytes + bytes_ <= KEPT) {
      idle.push_back({data_, bytes_});
      idle_bytes += bytes_;
      return;
    }
  }
  free(data_);
}

}  // namespace elman

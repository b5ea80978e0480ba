#include "team.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace elman {
namespace {

// Lets another thread run while this one waits. After 200 looks it sleeps: the thread that it waits for probably has no
// processor, and this thread must not occupy one.
void back_off(Int looks) {
  if (looks < 200) sched_yield();
  else std::this_thread::sleep_for(std::chrono::microseconds(50));
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

template <class Done>
void wait_until(Done&& done) {
  for (Int looks = 0; !done(); ++looks) looks < 4000 ? pause() : back_off(looks - 4000);
}

// Elman's own threads. A worker that has finished looks out for more work for about 100 us, then sleeps: the steps of a
// stream follow each other within microseconds, and waking a thread takes longer than a step.
//
// The caller invites workers and begins with those that join in time. On a busy machine a worker may have no processor
// for milliseconds. The caller then withdraws the invitation, and the other threads compute the same numbers.
class Pool {
 public:
  static constexpr Int LOOKS = 20'000;  // about 100 us

  // `patience` is the number of times that the caller checks whether all workers have joined; a check takes some 5 ns.
  void run(Int threads, Int patience, Work work, void* context) {
    hire(threads - 1);
    const Int invited = std::min(threads - 1, (Int)workers_.size());
    for (Int i = 0; i < invited; ++i) invite(*workers_[i]);
    for (Int looks = 0; looks < patience && !all_joined(invited); ++looks) pause();
    Int joined = 0;
    for (Int i = 0; i < invited; ++i) {
      int expected = INVITED;
      if (!workers_[i]->state.compare_exchange_strong(expected, IDLE)) workers_[i]->number = ++joined;
    }
    Team team{joined + 1, back_off, {}};
    work_ = work, context_ = context, team_ = &team;
    running_.store(joined, std::memory_order_relaxed);
    for (Int i = 0; i < invited; ++i) {
      int expected = JOINED;
      workers_[i]->state.compare_exchange_strong(expected, WORKING);
    }
    work(context, team, 0);
    wait_until([&] { return running_.load(std::memory_order_acquire) == 0; });
  }

 private:
  enum State : int { IDLE, INVITED, JOINED, WORKING };
  struct Worker {
    std::atomic<int> state{IDLE};
    std::atomic<bool> asleep{false};
    std::mutex mutex;
    std::condition_variable wake;
    Int number = 0;  // the thread's number in the team; the caller writes it before the state WORKING
  };
  // Starts workers until there are `wanted`, or until the system refuses; fewer workers compute the same numbers.
  void hire(Int wanted) {
    while ((Int)workers_.size() < wanted) {
      auto worker = std::make_unique<Worker>();
      workers_.reserve(workers_.size() + 1);
      try {
        std::thread([this, &own = *worker] { serve(own); }).detach();
      } catch (const std::system_error&) {
        return;
      }
      workers_.push_back(std::move(worker));
    }
  }
  static void invite(Worker& worker) {
    worker.state.store(INVITED);
    if (!worker.asleep.load()) return;
    std::lock_guard lock(worker.mutex);
    worker.wake.notify_one();
  }
  bool all_joined(Int invited) const {
    for (Int i = 0; i < invited; ++i)
      if (workers_[i]->state.load(std::memory_order_acquire) != JOINED) return false;
    return true;
  }
  void serve(Worker& worker) {
    for (;;) {
      const auto is_invited = [&] { return worker.state.load() == INVITED; };
      for (Int looks = 0; !is_invited() && looks < LOOKS; ++looks) pause();
      if (!is_invited()) {
        std::unique_lock lock(worker.mutex);
        // stored before the last look at the state: the worker sees the invitation, or the caller sees `asleep`
        worker.asleep.store(true);
        worker.wake.wait(lock, is_invited);
        worker.asleep.store(false);
      }
      int expected = INVITED;
      if (!worker.state.compare_exchange_strong(expected, JOINED)) continue;  // the invitation was withdrawn
      wait_until([&] { return worker.state.load(std::memory_order_acquire) == WORKING; });
      work_(context_, *team_, worker.number);
      worker.state.store(IDLE);
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
bool forked = false;  // a forked child has none of OpenMP's threads, and OpenMP would wait for them forever

Int nanoseconds(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return Int(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// Nanoseconds that this thread has spent in `back_off`: its waits for other threads but for their start.
thread_local Int waited = 0;

void back_off_timed(Int looks) {
  const Int begun = nanoseconds(CLOCK_MONOTONIC);
  back_off(looks);
  waited += nanoseconds(CLOCK_MONOTONIC) - begun;
}

struct Call {
  Work work;
  void* context;
  Int begun;                 // nanoseconds
  std::atomic<Int> lost{0};  // the longest time that one of the threads had no processor
  Team team;
};
void enter(void* data) {
  Call& call = *(Call*)data;
  // OpenMP may start fewer threads than requested; all of them see the same number
  const Int size = open_mp.threads();
  __atomic_store_n(&call.team.size, size, __ATOMIC_RELAXED);
  const Int used = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  waited = 0;
  call.work(call.context, call.team, open_mp.thread());
  const Int busy = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - used;
  const Int lost = nanoseconds(CLOCK_MONOTONIC) - call.begun - busy - waited;
  Int longest = call.lost.load(std::memory_order_relaxed);
  while (longest < lost && !call.lost.compare_exchange_weak(longest, lost)) {}
}

// Where another process runs on one of the processors, all threads wait at every barrier for the thread that is
// without one, each time for a time slice of milliseconds. So after a call that lost WORTH_NOTICE nanoseconds in this
// way, calls run on their caller's thread alone, for ALONE times as long as the loss. The results are the same bits.
constexpr Int WORTH_NOTICE = 200'000, ALONE = 16, LONGEST_ALONE = 1'000'000'000;
std::atomic<Int> alone_until{0};

void run_in_open_mp(Int threads, Work work, void* context) {
  const Int begun = nanoseconds(CLOCK_MONOTONIC);
  if (begun < alone_until.load(std::memory_order_relaxed)) {
    Team alone{1, back_off, {}};
    return work(context, alone, 0);
  }
  Call call{work, context, begun, {}, {threads, back_off_timed, {}}};
  open_mp.parallel(enter, &call, (unsigned)threads, 0);
  const Int lost = call.lost.load();
  if (lost > WORTH_NOTICE)
    alone_until.store(nanoseconds(CLOCK_MONOTONIC) + std::min(ALONE * lost, LONGEST_ALONE), std::memory_order_relaxed);
}

}  // namespace

bool share_threads() {
  if (forked) return false;
  OpenMp found;
  found.parallel = (decltype(found.parallel))dlsym(RTLD_DEFAULT, "GOMP_parallel");
  found.thread = (decltype(found.thread))dlsym(RTLD_DEFAULT, "omp_get_thread_num");
  found.threads = (decltype(found.threads))dlsym(RTLD_DEFAULT, "omp_get_num_threads");
  if (!found.parallel || !found.thread || !found.threads) return false;
  open_mp = found;
  return true;
}

void run(Int threads, Int operations, Work work, void* context) {
  Team alone{1, back_off, {}};
  threads = std::min(threads, MAX_THREADS);
  if (threads <= 1 || (open_mp.parallel && operations < WORTH_OPEN_MP)) return work(context, alone, 0);
  if (open_mp.parallel) return run_in_open_mp(threads, work, context);
  std::unique_lock lock(pool_lock, std::try_to_lock);
  if (!lock.owns_lock()) return work(context, alone, 0);
  if (!pool) pool = new Pool;
  pool->run(threads, std::min(operations / OPERATIONS_A_LOOK, MAX_LOOKS), work, context);
}

namespace {

constexpr size_t HUGE_PAGE = size_t(2) << 20;

struct Idle {
  char* data;
  size_t bytes;
};
std::mutex idle_lock;
std::vector<Idle>& idle = *new std::vector<Idle>;  // never deleted: blocks may come back while the process ends
size_t idle_bytes = 0;

}  // namespace

namespace {

// A forked child has none of the threads and starts a pool of its own. The fork waits until no thread changes the list
// of idle blocks, so the list is consistent in the child. The pool's lock is made anew, because a thread that the child
// does not have may hold it.
const int forks = pthread_atfork([] { idle_lock.lock(); }, [] { idle_lock.unlock(); }, [] {
  idle_lock.unlock();
  new (&pool_lock) std::mutex;
  pool = nullptr;
  open_mp = {};
  forked = true;
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

// Blocks of independent work for the threads that torch has already, without a call into Python for each portion.
//
// The kernels know nothing of threads: they take a range of blocks and the scratch of one worker. Here is what spreads
// the ranges. `entry` is GOMP_parallel of the OpenMP runtime that torch has loaded, found by
// seerlab.kernels.threads.team; a runtime or a pool of our own beside it would compete with its spinning threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace seerlab {

struct Team {
  using Entry = void (*)(void (*)(void*), void*, unsigned, unsigned);
  Entry entry;  // null: plain threads serve
  int threads;  // 1: the caller alone
};

// Call work(worker, begin, end) over disjoint ranges of at most `portion` blocks that together cover 0..count. `worker`
// counts from 0 and is below team.threads; two ranges of one worker never run at the same time, so that it can index
// scratch. Work must not throw. Functions in headers are static: an inline one could be linked from the file of another
// instruction set.
template <typename Work>
static void parallel_blocks(const Team& team, int64_t count, int64_t portion, Work& work) {
  const int64_t portions = (count + portion - 1) / portion;
  const int64_t threads = team.threads < portions ? team.threads : portions;
  if (threads <= 1) {
    if (count > 0) work(0, int64_t{0}, count);
    return;
  }
  struct Shared {
    Work& work;
    int64_t count, portion;
    std::atomic<int64_t> next{0};
    std::atomic<int> workers{0};

    static void run(void* data) {
      Shared& shared = *static_cast<Shared*>(data);
      const int worker = shared.workers.fetch_add(1, std::memory_order_relaxed);
      for (;;) {
        const int64_t begin = shared.next.fetch_add(shared.portion, std::memory_order_relaxed);
        if (begin >= shared.count) return;
        const int64_t end = begin + shared.portion;
        shared.work(worker, begin, end < shared.count ? end : shared.count);
      }
    }
  } shared{work, count, portion};
  if (team.entry != nullptr) {
    team.entry(&Shared::run, &shared, static_cast<unsigned>(threads), 0);
    return;
  }
  std::vector<std::thread> helpers;
  try {
    helpers.reserve(static_cast<size_t>(threads - 1));
    for (int64_t i = 1; i < threads; ++i) helpers.emplace_back(&Shared::run, &shared);
  } catch (const std::exception&) {
    // Fewer threads than hoped for: those that started and the caller share the work.
  }
  Shared::run(&shared);
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace seerlab

// Loops over independent tasks on a pool of std::threads.
//
// The contract that keeps results bitwise equal for every thread count: a caller divides its work into
// tasks by SHAPES alone, each task writes its own outputs, and sums over tasks are taken in task order
// afterwards. The number of threads then only says how many tasks run at once.
#pragma once

#include <functional>

#include "fastcca/base/types.hpp"

namespace fastcca {

// The number of threads used where nobody says otherwise: set_num_threads, else FASTCCA_NUM_THREADS,
// else OMP_NUM_THREADS, else the CPUs that this process may run on.
int num_threads();
void set_num_threads(int n);  // n < 1 returns to the default

// Within its scope, on this thread, parallel loops use n threads (n < 1: num_threads()).
class ThreadScope {
 public:
    explicit ThreadScope(int n);
    ~ThreadScope();
    ThreadScope(const ThreadScope&) = delete;
    ThreadScope& operator=(const ThreadScope&) = delete;

 private:
    int previous_;
};

// Runs task(0) … task(n_tasks - 1), each once, and returns when all of them ended. Tasks are handed out
// in order. The error of the lowest task that fails is rethrown here, whatever the threads do: tasks below
// a failed one run to their end, those above it that poll give up, later ones are left out.
// Called from within a task, or while another thread uses the pool, it runs the tasks on the caller alone.
void parallel_for(Index n_tasks, const std::function<void(Index)>& task);

// A hook that the calling thread asks every few milliseconds during parallel loops, and that any task may
// ask through poll(): true means stop. Layer 1 sets it to look for Python's signals.
using InterruptHook = bool (*)();
void set_interrupt_hook(InterruptHook hook);

// Throws Interrupted when the hook (on a calling thread) or the failure of a lower task asks for a stop.
// Cheap: the hook is asked at most every 20 ms. Long serial loops call it once an iteration.
void poll();

}  // namespace fastcca

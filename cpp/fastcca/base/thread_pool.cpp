#include "fastcca/base/thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "fastcca/base/errors.hpp"

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace fastcca {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPollInterval = std::chrono::milliseconds(20);

std::atomic<InterruptHook> interrupt_hook{nullptr};
std::atomic<int> chosen_threads{0};
thread_local int scoped_threads = 0;
thread_local Clock::time_point last_poll{};

int positive_env(const char* name) {
    const char* text = std::getenv(name);
    const long value = text ? std::strtol(text, nullptr, 10) : 0;
    return value > 0 ? static_cast<int>(std::min(value, 4096L)) : 0;
}

int available_cpus() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

constexpr Index kNone = std::numeric_limits<Index>::max();
constexpr Index kInterrupt = -1;  // below every task: an interrupt stops them all

// One parallel loop. Lives on the caller's stack; workers touch it only while they are counted in `running`.
struct Job {
    const std::function<void(Index)>* task;
    Index n_tasks;
    std::atomic<Index> next{0};
    std::atomic<Index> failed{kNone};  // the lowest task that failed; those below it run to their end
    int wanted = 0;                    // workers that may still join (guarded by the pool's mutex)
    int running = 0;                   // workers inside (guarded by the pool's mutex)
    std::mutex error_mutex;
    std::exception_ptr error;

    Job(const std::function<void(Index)>* fn, Index n) : task(fn), n_tasks(n) {}

    bool stopped(Index i) const { return i > failed; }

    void fail(Index i, std::exception_ptr e) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (i >= failed) return;
        error = std::move(e);
        failed = i;
    }
};

thread_local Job* current_job = nullptr;  // the loop that this thread works in, and its task there
thread_local Index current_task = 0;
thread_local bool is_worker = false;

bool hook_says_stop() {
    const InterruptHook hook = interrupt_hook;
    if (!hook) return false;
    const auto now = Clock::now();
    if (now - last_poll < kPollInterval) return false;
    last_poll = now;
    return hook();
}

// Takes tasks until none is left. A caller looks for interrupts between them; workers leave that to it.
// Only a loop shared with other threads becomes the current one: within a loop that has one thread to
// itself, an inner loop may still go to the pool.
void work(Job& job, bool shared) {
    Job* const outer_job = current_job;
    const Index outer_task = current_task;
    if (shared) current_job = &job;
    for (;;) {
        const Index i = job.next++;
        if (i >= job.n_tasks || job.stopped(i)) break;
        if (shared) current_task = i;
        try {
            if (!is_worker && hook_says_stop()) throw Interrupted();
            (*job.task)(i);
        } catch (const Interrupted&) {
            // A task that gave up because a lower one had failed has nothing of its own to report.
            if (!job.stopped(i)) job.fail(kInterrupt, std::current_exception());
        } catch (...) {
            job.fail(i, std::current_exception());
        }
    }
    current_job = outer_job;
    current_task = outer_task;
}

class Pool {
 public:
    // Never destroyed: idle workers simply end with the process.
    static Pool& instance() {
        static std::once_flag once;
        std::call_once(once, [] {
            current_ = new Pool;
#if defined(__unix__) || defined(__APPLE__)
            // A forked child has none of the workers and may have locks held by threads that are gone:
            // it begins with a pool of its own and never looks at the old one.
            pthread_atfork(nullptr, nullptr, [] { current_ = new Pool; });
#endif
        });
        return *current_;
    }

    void run(Job& job, int n_threads) {
        std::unique_lock<std::mutex> only(submit_, std::try_to_lock);
        if (!only.owns_lock()) return work(job, false);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            const auto helpers = static_cast<std::size_t>(n_threads - 1);
            try {
                while (workers_.size() < helpers) workers_.emplace_back([this] { loop(); });
            } catch (const std::system_error&) {
                // The system grants no more threads: those there are do the work.
            }
            job.wanted = n_threads - 1;
            job_ = &job;
        }
        wake_.notify_all();
        work(job, true);
        std::unique_lock<std::mutex> lock(mutex_);
        job_ = nullptr;
        job.wanted = 0;
        while (job.running > 0) {
            done_.wait_for(lock, kPollInterval, [&] { return job.running == 0; });
            if (job.running == 0) break;
            lock.unlock();  // the hook may wait for another lock (Python's)
            if (hook_says_stop()) job.fail(kInterrupt, std::make_exception_ptr(Interrupted()));
            lock.lock();
        }
    }

 private:
    void loop() {
        is_worker = true;
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return job_ && job_->wanted > 0; });
            Job& job = *job_;
            --job.wanted;
            ++job.running;
            lock.unlock();
            work(job, true);
            lock.lock();
            if (--job.running == 0) done_.notify_all();
        }
    }

    static inline Pool* current_ = nullptr;
    std::mutex submit_;  // held by the one caller that uses the pool
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    Job* job_ = nullptr;
};

}  // namespace

int num_threads() {
    if (const int n = chosen_threads) return n;
    if (const int n = positive_env("FASTCCA_NUM_THREADS")) return n;
    if (const int n = positive_env("OMP_NUM_THREADS")) return n;
    return available_cpus();
}

void set_num_threads(int n) { chosen_threads = std::max(n, 0); }

ThreadScope::ThreadScope(int n) : previous_(scoped_threads) {
    if (n > 0) scoped_threads = n;
}
ThreadScope::~ThreadScope() { scoped_threads = previous_; }

void set_interrupt_hook(InterruptHook hook) { interrupt_hook = hook; }

void poll() {
    if (current_job && current_job->stopped(current_task)) throw Interrupted();
    if (!is_worker && hook_says_stop()) throw Interrupted();
}

void parallel_for(Index n_tasks, const std::function<void(Index)>& task) {
    if (n_tasks <= 0) return;
    Job job(&task, n_tasks);
    const int limit = scoped_threads > 0 ? scoped_threads : num_threads();
    const int n = static_cast<int>(std::min<Index>(limit, n_tasks));
    if (n <= 1 || current_job) {
        work(job, false);
    } else {
        Pool::instance().run(job, n);
    }
    if (job.error) std::rethrow_exception(job.error);
}

}  // namespace fastcca

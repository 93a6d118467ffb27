#include "fastcca/base/thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "fastcca/base/errors.hpp"

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif
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

// A positive integer, or the first of a list of them (OMP_NUM_THREADS has one for each level of nesting);
// else 0, as if the variable were not set: "1e3" is no 1.
int positive_env(const char* name) {
    const char* text = std::getenv(name);
    if (!text) return 0;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    while (*end == ' ') ++end;
    const bool whole = end != text && (*end == '\0' || *end == ',');
    return whole && value > 0 ? static_cast<int>(std::min(value, 4096L)) : 0;
}

int available_cpus() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Threads beyond the CPUs only take turns; a few are allowed, so that results of any number of threads can be
// compared on any machine.
constexpr int kAlwaysAllowed = 8;

constexpr Index kNone = std::numeric_limits<Index>::max();
constexpr Index kInterrupt = -1;  // below every task: an interrupt stops them all

#if defined(__linux__)
// Guests of a hypervisor see an idle CPU as taken, and wake a worker on the CPU of whoever woke it, where
// it waits for milliseconds next to an idle one. So a sleeping worker is told which CPU to stay away from
// when it wakes, and takes that back once it runs.
constexpr std::size_t kSteered = 8;  // workers at most: on large machines the odds are small

bool steer_away(pthread_t thread, int cpu) {
    cpu_set_t set;
    if (cpu < 0 || pthread_getaffinity_np(thread, sizeof set, &set) != 0) return false;
    if (!CPU_ISSET(cpu, &set) || CPU_COUNT(&set) < 2) return false;
    CPU_CLR(cpu, &set);
    return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

void allow(int cpu) {
    cpu_set_t set;
    if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) != 0) return;
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}
#endif

// Loops follow one another closely, and to sleep and be woken takes longer than many a task: first a wait
// that does not sleep.
constexpr auto kSpin = std::chrono::microseconds(200);

template <typename Condition>
void spin_until(const Condition& holds) {
    if (holds()) return;
    const auto end = Clock::now() + kSpin;
    do {
        for (int i = 0; i < 16; ++i) {
            if (holds()) return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
        std::this_thread::yield();  // to whoever else wants this CPU, such as PyTorch's threads
    } while (Clock::now() < end);
}

// One parallel loop. Lives on the caller's stack; workers touch it only while they are counted in `running`.
struct Job {
    const std::function<void(Index)>* task;
    Index n_tasks;
    std::atomic<Index> next{0};
    std::atomic<Index> failed{kNone};  // the lowest task that failed; those below it run to their end
    int wanted = 0;                    // workers that may still join (guarded by the pool's mutex)
    std::atomic<int> running{0};       // workers inside (changed under the pool's mutex)
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
#if defined(__GLIBCXX__)
        } catch (abi::__forced_unwind&) {
            // The thread is being ended (pthread_exit), which nobody may stop: the other threads need not
            // go on.
            job.failed = kInterrupt;
            current_job = outer_job;
            current_task = outer_task;
            throw;
#endif
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
                while (workers_.size() < helpers) {
                    steered_.push_back(-1);
                    asleep_.push_back(false);
                    workers_.emplace_back([this, i = workers_.size()] { loop(i); });
                }
            } catch (const std::system_error&) {
                // The system grants no more threads: those there are do the work.
            }
#if defined(__linux__)
            const int cpu = sched_getcpu();
            for (std::size_t i = 0; i < std::min({helpers, workers_.size(), kSteered}); ++i)
                if (asleep_[i] && steered_[i] < 0 && steer_away(workers_[i].native_handle(), cpu))
                    steered_[i] = cpu;
#endif
            job.wanted = n_threads - 1;
            job_ = &job;
            ++posted_;
        }
        wake_.notify_all();
        // The job lives on this stack: it is left when the last worker has left it, whatever happens.
        struct Closing {
            Pool& pool;
            Job& job;
            ~Closing() { pool.close(job); }
        } const closing{*this, job};
        work(job, true);
    }

 private:
    // Waits for the workers that are in the job; no other joins.
    void close(Job& job) {
        spin_until([&] { return job.running == 0; });
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

    void loop(std::size_t self) {
        is_worker = true;
        std::unique_lock<std::mutex> lock(mutex_);
        const auto ready = [&] { return steered_[self] >= 0 || (job_ && job_->wanted > 0); };
        for (;;) {
            if (!ready()) {
                const std::uint64_t seen = posted_;
                lock.unlock();
                spin_until([&] { return posted_ != seen; });
                lock.lock();
                asleep_[self] = true;
                wake_.wait(lock, ready);
                asleep_[self] = false;
            }
            const int cpu = std::exchange(steered_[self], -1);
            Job* const job = job_ && job_->wanted > 0 ? job_ : nullptr;
            if (job) {
                --job->wanted;
                ++job->running;
            }
            lock.unlock();
#if defined(__linux__)
            if (cpu >= 0) allow(cpu);
#endif
            if (job) work(*job, true);
            lock.lock();
            if (job && --job->running == 0) done_.notify_all();
        }
    }

    static inline Pool* current_ = nullptr;
    std::mutex submit_;  // held by the one caller that uses the pool
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    std::atomic<std::uint64_t> posted_{0};  // loops so far
    std::vector<bool> asleep_;              // by worker
    std::vector<int> steered_;              // by worker: the CPU that it stays away from, or -1
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
    int n = static_cast<int>(std::min<Index>(limit, n_tasks));
    if (n > kAlwaysAllowed) n = std::min(n, std::max(kAlwaysAllowed, available_cpus()));
    if (n <= 1 || current_job) {
        work(job, false);
    } else {
        Pool::instance().run(job, n);
    }
    if (job.error) std::rethrow_exception(job.error);
}

}  // namespace fastcca

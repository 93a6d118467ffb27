// Loops on the pool: each task once, errors carried out, nested loops, several callers, interrupts.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"

using namespace fastcca;

namespace {

void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// What parallel_for(n, task) throws, as text.
std::string error_of(Index n, const std::function<void(Index)>& task) {
    try {
        parallel_for(n, task);
    } catch (const Interrupted&) {
        return "interrupted";
    } catch (const std::exception& e) {
        return e.what();
    }
    return "none";
}

std::atomic<bool> stop_requested{false};

}  // namespace

TEST_CASE("each task runs once") {
    for (const int threads : {1, 2, 7}) {
        const ThreadScope scope(threads);
        for (const Index n : {0, 1, 2, 5, 1000}) {
            std::vector<std::atomic<int>> runs(static_cast<std::size_t>(n));
            parallel_for(n, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
            for (const auto& count : runs) CHECK(count == 1);
        }
        parallel_for(-3, [](Index) { FAIL("no task to run"); });
    }
}

TEST_CASE("several tasks run at once") {
    const ThreadScope scope(2);
    // Each of two tasks waits for the other: on one thread this would not end.
    std::atomic<int> arrived{0};
    parallel_for(2, [&](Index) {
        ++arrived;
        while (arrived < 2) std::this_thread::yield();
    });
    CHECK(arrived == 2);
}

TEST_CASE("the lowest failed task's error is thrown and later tasks are left out") {
    for (const int threads : {1, 2, 7}) {
        const ThreadScope scope(threads);
        std::atomic<Index> ran{0};
        const auto task = [&](Index i) {
            ++ran;
            if (i == 3) {
                sleep_ms(5);  // a later task fails first
                throw std::runtime_error("task 3");
            }
            if (i >= 4) throw std::runtime_error("task " + std::to_string(i));
        };
        CHECK(error_of(10000, task) == "task 3");
        CHECK(ran < 10000);
        // The pool is whole afterwards.
        std::atomic<Index> sum{0};
        parallel_for(100, [&](Index i) { sum += i; });
        CHECK(sum == 4950);
    }
}

TEST_CASE("a failed task stops those above it, and they hide nothing") {
    for (const int threads : {1, 2, 3}) {
        const ThreadScope scope(threads);
        std::atomic<bool> ended{false};
        const auto task = [&](Index i) {
            if (i == 1) throw std::runtime_error("task 1");
            // Both others are at work when task 1 fails (if there are threads for it).
            for (int step = 0; step < 30; ++step) {
                sleep_ms(1);
                poll();
            }
            if (i == 0) ended = true;
        };
        CHECK(error_of(3, task) == "task 1");
        CHECK(ended);
    }
}

TEST_CASE("exceptions keep their type") {
    const ThreadScope scope(2);
    CHECK_THROWS_AS(parallel_for(8, [](Index) { throw NumericalError("numbers"); }), NumericalError);
    CHECK_THROWS_AS(parallel_for(8, [](Index) { throw std::bad_alloc(); }), std::bad_alloc);
}

TEST_CASE("nested loops run their tasks on the thread of the outer one") {
    const ThreadScope scope(2);
    std::atomic<Index> sum{0};
    std::atomic<int> strangers{0};
    parallel_for(8, [&](Index i) {
        const auto self = std::this_thread::get_id();
        parallel_for(8, [&](Index j) {
            if (std::this_thread::get_id() != self) ++strangers;
            sum += 8 * i + j;
        });
    });
    CHECK(sum == 2016);
    CHECK(strangers == 0);
    CHECK(error_of(4, [&](Index i) {
              parallel_for(4, [&](Index j) { throw std::runtime_error(std::to_string(10 * i + j)); });
          }) == "0");
}

TEST_CASE("several callers at once") {
    std::vector<std::thread> callers;
    std::vector<Index> sums(6, 0);
    for (std::size_t c = 0; c < sums.size(); ++c) {
        callers.emplace_back([&, c] {
            const ThreadScope scope(3);
            for (int repeat = 0; repeat < 50; ++repeat) {
                std::vector<Index> parts(64, 0);
                parallel_for(64, [&](Index i) { parts[static_cast<std::size_t>(i)] = i + 1; });
                for (const Index part : parts) sums[c] += part;
            }
        });
    }
    for (auto& caller : callers) caller.join();
    for (const Index sum : sums) CHECK(sum == 50 * 2080);
}

TEST_CASE("numbers of threads") {
    set_num_threads(3);
    CHECK(num_threads() == 3);
    {
        // A scope holds on its thread alone, and for loops alone: what others see does not change.
        const ThreadScope scope(1);
        CHECK(num_threads() == 3);
        const auto self = std::this_thread::get_id();
        parallel_for(16, [&](Index) { CHECK(std::this_thread::get_id() == self); });
    }
    set_num_threads(0);
    CHECK(num_threads() >= 1);
}

TEST_CASE("an interrupt ends a loop") {
    set_interrupt_hook([] { return stop_requested.load(); });
    for (const int threads : {1, 2, 7}) {
        const ThreadScope scope(threads);
        stop_requested = false;
        std::atomic<int> ran{0};
        const std::string error = error_of(100000, [&](Index) {
            if (++ran == 5) stop_requested = true;
            sleep_ms(1);
        });
        CHECK(error == "interrupted");
        CHECK(ran < 1000);
    }
    stop_requested = false;
    // A long task asks by itself, wherever it runs.
    for (const int threads : {1, 2}) {
        const ThreadScope scope(threads);
        stop_requested = false;
        const std::string error = error_of(2, [&](Index) {
            stop_requested = true;
            for (;;) poll();
        });
        CHECK(error == "interrupted");
    }
    stop_requested = false;
    set_interrupt_hook(nullptr);
    poll();  // nobody to ask: goes on
    std::atomic<int> ran{0};
    parallel_for(10, [&](Index) { ++ran; });
    CHECK(ran == 10);
}

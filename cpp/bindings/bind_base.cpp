// The CPU level in use, its threads and its errors.
#include <Eigen/Core>
#include <atomic>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "bindings/bindings.hpp"
#include "bindings/call.hpp"

#define FASTCCA_TEXT(x) FASTCCA_TEXT_(x)
#define FASTCCA_TEXT_(x) #x

namespace fastcca::bindings {
namespace {

const Level* the_level = nullptr;

// Which levels may run here. Compiled, as all of this module, for the oldest CPU, and no more than this.
bool cpu_supports(const std::string& level) {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    __builtin_cpu_init();
#define HAS(feature) (__builtin_cpu_supports(feature) != 0)
    // Feature by feature rather than by the level's name, which compilers before GCC 12 do not know.
    // The compiler's answer includes whether the operating system saves the wide registers.
    const bool v2 = HAS("sse3") && HAS("ssse3") && HAS("sse4.1") && HAS("sse4.2") && HAS("popcnt");
    const bool v3 = v2 && HAS("avx") && HAS("avx2") && HAS("bmi") && HAS("bmi2") && HAS("fma");
    const bool v4 =
        v3 && HAS("avx512f") && HAS("avx512bw") && HAS("avx512cd") && HAS("avx512dq") && HAS("avx512vl");
#undef HAS
    return level == "v2" ? v2 : level == "v3" ? v3 : level == "v4" ? v4 : false;
#else
    return level == "generic";
#endif
}

// Python handles signals on its main thread alone: the other threads need not stop for the GIL.
std::atomic<unsigned long> main_thread{0};

// Runs on the thread that called from Python, while the pool works.
bool python_signals() {
    if (PyThread_get_thread_ident() != main_thread) return false;
    const GilHeld gil;
    return PyErr_CheckSignals() != 0;
}

void find_main_thread() {
    main_thread = py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
#if defined(__unix__) || defined(__APPLE__)
    // The thread that forked is the main thread of the child.
    pthread_atfork(nullptr, nullptr, [] { main_thread = PyThread_get_thread_ident(); });
#endif
}

std::string eigen() {
    return FASTCCA_TEXT(EIGEN_WORLD_VERSION) "." FASTCCA_TEXT(EIGEN_MAJOR_VERSION) "." FASTCCA_TEXT(
        EIGEN_MINOR_VERSION);
}

#if defined(__linux__)
// The stack of a process' first thread grows as it is used, and where no address space is left for that
// (RLIMIT_AS) the kernel ends the process in the midst of a call. What a call of the core may use is
// therefore taken at once, while there is address space; the other threads' stacks are whole from their
// start.
[[gnu::noinline]] void touch_stack(std::size_t bytes) {
    volatile char* const deep = static_cast<volatile char*>(__builtin_alloca(bytes));
    *deep = 0;
}

void reserve_stack() {
    constexpr std::size_t kNeeded = std::size_t{1} << 20;
    rlimit limit{};
    if (getpid() != static_cast<pid_t>(syscall(SYS_gettid)) || getrlimit(RLIMIT_STACK, &limit) != 0) return;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= 8 * kNeeded) touch_stack(kNeeded);
}
#else
void reserve_stack() {}
#endif

// From now on all functions run on the level whose table the capsule holds; once for a process, since
// objects of one level mean nothing to another.
void use_level(const py::capsule& table) {
    const auto* level = static_cast<const Level*>(table.get_pointer());
    if (the_level && the_level != level) throw std::runtime_error("a CPU level is in use already");
    if (level->size != sizeof(Level))
        throw py::import_error("the compiled modules of fastcca were built from different sources");
    the_level = level;
    find_main_thread();
    reserve_stack();
    level->set_interrupt_hook(&python_signals);
}

}  // namespace

const Level& level() {
    if (!the_level) throw std::runtime_error("no CPU level has been chosen");
    return *the_level;
}

void register_base(py::module_& m) {
    py::register_local_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (const NumericalError& e) {
            py::set_error(py::module_::import("fastcca.errors").attr("NumericalError"), e.what());
        } catch (const Interrupted&) {
            PyErr_SetNone(PyExc_KeyboardInterrupt);
        }
    });
    m.attr("eigen") = eigen();
    m.def("cpu_supports", &cpu_supports, py::arg("level"));
    m.def("use_level", &use_level, py::arg("table"));
    m.def("level", [] { return level().name; });
    m.def("compiler", [] { return level().compiler; });
    m.def("num_threads", [] { return level().num_threads(); });
    m.def("use_amx", [] { return level().use_bfloat16_tiles(); });
    m.def("allow_amx", [](bool allowed) { level().allow_bfloat16_tiles(allowed); }, py::arg("allowed"));
    m.def("set_num_threads", [](int n) { level().set_num_threads(n); }, py::arg("n"));
}

}  // namespace fastcca::bindings

// The baseline module: which x86-64 levels may run here. Compiled for the oldest CPU, and no more than this.
#include <pybind11/pybind11.h>

namespace {

bool supports(const std::string& level) {
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

}  // namespace

PYBIND11_MODULE(_cpu, m) {
    m.doc() = "Asks the CPU which levels of the x86-64 architecture it supports.";
    m.def("supports", &supports, pybind11::arg("level"));
}

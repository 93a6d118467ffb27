#include "fastcca/retrieval/bfloat16_tile.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

// AMX: on Linux, by compilers that know it, in the level whose vectors are the tiles' rows.
#if defined(__x86_64__) && defined(__linux__) && defined(__AVX512F__) && defined(__AVX512BW__) && \
    defined(__AVX512DQ__) && defined(__AVX512VL__)
#if defined(__clang__) ? __clang_major__ >= 12 : defined(__GNUC__) && __GNUC__ >= 11
#define FASTCCA_TILES 1
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace fastcca {
namespace {

constexpr Index kQueries = Bfloat16Tile::kQueries, kDepth = Bfloat16Tile::kDepth;
constexpr Index kNumbers = kQueries * kDepth;  // of a tile
constexpr double kSmallest = std::numeric_limits<float>::min();

std::atomic<bool> allowed_here{true};

// What a number rounds to, as bits; ties to even.
std::uint32_t rounded(float x) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16;
}

// A float not below x, with something to spare for roundings of what is computed from it.
float above(double x) { return static_cast<float>(x * (1 + 0x1p-16)); }

// Of a panel: its tiles, its biases and what lowers a threshold,
// length · of_length + error · of_error + constant.
struct PanelTiles {
    const std::uint16_t* tiles;
    const float* bias;
    float of_length, of_error, constant;
};

#if defined(FASTCCA_TILES)

bool find_tiles() {
    const char* const setting = std::getenv("FASTCCA_AMX");
    if (setting && std::strcmp(setting, "0") == 0) return false;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return false;  // OSXSAVE
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return false;
    unsigned low = 0, high = 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low >> 17 & 3) != 3) return false;  // the system keeps the tiles of a thread
    // The system wants to be asked, once for a process: signals then come with larger frames.
    constexpr int kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

#define FASTCCA_AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq")))

// All eight tiles: sixteen rows of 64 bytes.
struct alignas(64) TileShapes {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileShapes kShapes{};

constexpr Index kRows = Bfloat16Panel::kRows, kScores = kQueries * kRows;  // of a tile of queries and a panel

// A panel in bfloat16 to `out`, and for each row the sum of the squares of what it is off.
void round_columns(const float* panel, Index columns, std::uint16_t* out, float* squares) {
    constexpr Index kVectors = kRows / 16;
    const __m512i half = _mm512_set1_epi32(0x7fff), one = _mm512_set1_epi32(1);
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
    __m512 sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = _mm512_setzero_ps();
    for (Index c = 0; c < columns; c += 2, panel += 2 * kRows) {
        std::uint16_t* const to = out + c / kDepth * kVectors * kNumbers + c % kDepth * 16;
        const bool odd = c + 1 < columns;
        for (int v = 0; v < kVectors; ++v) {
            const __m512 x = _mm512_loadu_ps(panel + v * 16);
            const __m512 y = odd ? _mm512_loadu_ps(panel + kRows + v * 16) : _mm512_setzero_ps();
            const __m512i i = _mm512_castps_si512(x), j = _mm512_castps_si512(y);
            const __m512i p =
                _mm512_add_epi32(i, _mm512_add_epi32(half, _mm512_and_si512(_mm512_srli_epi32(i, 16), one)));
            const __m512i q = _mm512_and_si512(
                upper,
                _mm512_add_epi32(j, _mm512_add_epi32(half, _mm512_and_si512(_mm512_srli_epi32(j, 16), one))));
            const __m512 e = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(upper, p)));
            const __m512 f = _mm512_sub_ps(y, _mm512_castsi512_ps(q));
            sum[v] = _mm512_fmadd_ps(e, e, _mm512_fmadd_ps(f, f, sum[v]));
            _mm512_store_si512(to + v * kNumbers, _mm512_or_si512(_mm512_srli_epi32(p, 16), q));
        }
    }
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(squares + v * 16, sum[v]);
}

// The products of the panel with two tiles of queries, `apart` from each other.
FASTCCA_AMX inline void multiply(const std::uint16_t* panel, const std::uint16_t* queries, Index apart,
                                 Index depths) {
    static_assert(kRows == 48, "three tiles side by side");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (Index s = 0; s < depths; ++s, queries += kNumbers, panel += 3 * kNumbers) {
        _tile_loadd(6, queries, 64);
        _tile_loadd(7, panel, 64);
        _tile_dpbf16ps(0, 6, 7);
        _tile_loadd(7, panel + kNumbers, 64);
        _tile_dpbf16ps(1, 6, 7);
        _tile_loadd(7, panel + 2 * kNumbers, 64);
        _tile_dpbf16ps(2, 6, 7);
        _tile_loadd(6, queries + apart, 64);
        _tile_dpbf16ps(5, 6, 7);
        _tile_loadd(7, panel + kNumbers, 64);
        _tile_dpbf16ps(4, 6, 7);
        _tile_loadd(7, panel, 64);
        _tile_dpbf16ps(3, 6, 7);
    }
}

FASTCCA_AMX inline void store(float* scores) {
    constexpr Index kStride = kRows * sizeof(float);
    _tile_stored(0, scores, kStride);
    _tile_stored(1, scores + 16, kStride);
    _tile_stored(2, scores + 32, kStride);
    _tile_stored(3, scores + kScores, kStride);
    _tile_stored(4, scores + kScores + 16, kStride);
    _tile_stored(5, scores + kScores + 32, kStride);
}

// Three vectors of scores, with their biases.
template <bool kBias>
inline __m512 biased(const float* scores, const __m512* bias, int v) {
    const __m512 score = _mm512_load_ps(scores + v * 16);
    return kBias ? _mm512_add_ps(score, bias[v]) : score;
}

// Those of a tile's queries that exceed their lowered thresholds, to `sieved`; returns how many.
template <bool kBias>
inline Index compare(const float* scores, const PanelTiles& panel, const float* lengths, const float* errors,
                     const float* thresholds, Index first, Sieved* sieved) {
    const __m512 threshold = _mm512_loadu_ps(thresholds);
    __m512 less = _mm512_set1_ps(panel.constant);
    less = _mm512_fmadd_ps(_mm512_loadu_ps(lengths), _mm512_set1_ps(panel.of_length), less);
    less = _mm512_fmadd_ps(_mm512_loadu_ps(errors), _mm512_set1_ps(panel.of_error), less);
    // Twice the rounding of the differences.
    less = _mm512_fmadd_ps(_mm512_abs_ps(threshold), _mm512_set1_ps(0x1p-22F), less);
    alignas(64) float lowered[kQueries];
    _mm512_store_ps(lowered, _mm512_sub_ps(threshold, less));
    __m512 bias[3];
    for (int v = 0; v < 3; ++v) bias[v] = kBias ? _mm512_load_ps(panel.bias + v * 16) : _mm512_setzero_ps();
    __m512 excess = _mm512_setzero_ps();
    for (Index j = 0; j < kQueries; ++j) {
        const float* const s = scores + j * kRows;
        const __m512 best = _mm512_max_ps(_mm512_max_ps(biased<kBias>(s, bias, 0), biased<kBias>(s, bias, 1)),
                                          biased<kBias>(s, bias, 2));
        excess = _mm512_max_ps(excess, _mm512_sub_ps(best, _mm512_set1_ps(lowered[j])));
    }
    if (!_mm512_cmp_ps_mask(excess, _mm512_setzero_ps(), _CMP_GT_OQ)) return 0;
    Index count = 0;
    for (Index j = 0; j < kQueries; ++j) {
        const __m512 limit = _mm512_set1_ps(lowered[j]);
        std::uint64_t rows = 0;
        for (int v = 0; v < 3; ++v)
            rows |= std::uint64_t{_mm512_cmp_ps_mask(biased<kBias>(scores + j * kRows, bias, v), limit,
                                                     _CMP_GT_OQ)}
                    << v * 16;
        if (rows) sieved[count++] = {first + j, rows};
    }
    return count;
}

template <bool kBias>
FASTCCA_AMX Index sieve_tiles(const PanelTiles& panel, const Bfloat16Queries& queries, Index depths,
                              Index start, Index n, const float* thresholds, Sieved* sieved) {
    // The unit computes two tiles of queries while the last two are compared.
    alignas(64) float scores[2][2 * kScores];
    const Index tiles = (n + kQueries - 1) / kQueries;
    Index count = 0;
    _tile_loadconfig(&kShapes);
    for (Index t = 0; t < tiles + 2; t += 2) {
        if (t < tiles)
            multiply(panel.tiles, queries.tile(start + t * kQueries), t + 1 < tiles ? depths * kNumbers : 0,
                     depths);
        for (Index u = std::max<Index>(t - 2, 0); u < std::min(t, tiles); ++u) {
            const Index first = u * kQueries;
            count += compare<kBias>(scores[t / 2 % 2 ^ 1] + u % 2 * kScores, panel,
                                    queries.lengths() + start + first, queries.errors() + start + first,
                                    thresholds + first, first, sieved + count);
        }
        if (t < tiles) store(scores[t / 2 % 2]);
    }
    // Between two panels anything may run on this thread that has tiles of its own.
    _tile_release();
    return count;
}

#else

bool find_tiles() { return false; }
void round_columns(const float*, Index, std::uint16_t*, float*) {}
template <bool kBias>
Index sieve_tiles(const PanelTiles&, const Bfloat16Queries&, Index, Index, Index, const float*, Sieved*) {
    return 0;
}

#endif

}  // namespace

bool use_bfloat16_tiles() {
    static const bool found = find_tiles();
    return found && allowed_here;
}

void Bfloat16Panel::set(const float* panel, double longest) {
    float squares[kRows] = {};
    round_columns(panel, columns_, tiles_.data(), squares);
    longest_ = longest;
    // A number is off by 2^-8 of itself at most; how much it is in fact, half of that, say the squares, while
    // they are normal numbers.
    error_ = longest * 0x1p-8;
    const double columns = static_cast<double>(columns_);
    if (longest > 0x1p-30 && longest < 0x1p50) {
        const double sum = *std::max_element(squares, squares + kRows);
        error_ = std::min(error_, std::sqrt(sum * (1 + columns * 0x1p-22) + columns * 0x1p-120));
    }
    error_ += std::sqrt(columns) * kSmallest;
}

Index Bfloat16Panel::sieve(const float* bias, double largest_bias, const Bfloat16Queries& queries,
                           Index start, Index n, const float* thresholds, Sieved* sieved) const {
    const double m = static_cast<double>(columns_ + 32), rounding = 1.125 * 0x1p-23 * m;
    const double length = longest_ + error_;
    const PanelTiles panel = {tiles_.data(), bias, above(error_ + rounding * length),
                              above(length + rounding * length),
                              above(rounding * largest_bias + 16 * m * kSmallest)};
    const bool biased = std::any_of(bias, bias + kRows, [](float b) { return b != 0; });
    return (biased ? sieve_tiles<true> : sieve_tiles<false>)(panel, queries, depths_, start, n, thresholds,
                                                             sieved);
}

void allow_bfloat16_tiles(bool allowed) { allowed_here = allowed; }

TileBuffer::TileBuffer(Index numbers) : memory_(new std::uint16_t[static_cast<std::size_t>(numbers + 32)]()) {
    void* start = memory_.get();
    std::size_t space = static_cast<std::size_t>(numbers + 32) * sizeof(std::uint16_t);
    data_ = static_cast<std::uint16_t*>(std::align(64, space - 64, start, space));
}

Bfloat16Queries::Bfloat16Queries(Index n, Index columns)
    : columns_(columns),
      depths_(Bfloat16Tile::depths(columns)),
      tiles_((n + kQueries - 1) / kQueries * kNumbers * depths_),
      lengths_(static_cast<std::size_t>((n + kQueries - 1) / kQueries * kQueries)),
      errors_(lengths_.size()) {}

void Bfloat16Queries::set(Index query, const float* at, Index step) {
    std::uint16_t* const row =
        tiles_.data() + query / kQueries * kNumbers * depths_ + query % kQueries * kDepth;
    double length2 = 0, error2 = 0;
    for (Index c = 0; c < columns_; ++c) {
        const float x = at[c * step];
        const std::uint32_t bits = rounded(x);
        row[c / kDepth * kNumbers + c % kDepth] = static_cast<std::uint16_t>(bits >> 16);
        float near = 0;
        std::memcpy(&near, &bits, sizeof near);
        const double value = x, error = value - near;
        length2 += value * value;
        error2 += error * error;
    }
    const auto place = static_cast<std::size_t>(query);
    const double tiny = std::sqrt(static_cast<double>(columns_)) * kSmallest;
    lengths_[place] = above(std::sqrt(length2) + tiny);
    errors_[place] = above(std::sqrt(error2) + tiny);
}

Bfloat16Panel::Bfloat16Panel(Index columns)
    : columns_(columns),
      depths_(Bfloat16Tile::depths(columns)),
      tiles_(depths_ * kNumbers * ((kRows + 15) / 16)) {}

}  // namespace fastcca

#include "fastcca/linalg/largest_eigenvalues.hpp"

#include <algorithm>

#include "fastcca/base/packet.hpp"
#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// As many matrices side by side as a register has lanes: their entries (i, j) are one register.
class SideBySide {
    using Packet = PacketOf<double>;

 public:
    static constexpr Index kLanes = kPacketLanes<Packet>;
    using Values = Eigen::Array<double, kLanes, 1>;

    explicit SideBySide(Index n)
        : n_(n),
          triangle_(kLanes, n * (n + 1) / 2),
          v_(kLanes, n),
          w_(kLanes, n),
          diagonal_(kLanes, n),
          beside_(kLanes, n) {}

    // The matrices from `first` on; where there are no more, the last one again.
    void load(const MatrixView<double>& stack, Index first) {
        for (Index lane = 0; lane < kLanes; ++lane) {
            const Index m = std::min(first + lane, stack.rows - 1);
            for (Index i = 0; i < n_; ++i)
                for (Index j = 0; j <= i; ++j) triangle_(lane, place(i, j)) = stack(m, i * n_ + j);
        }
    }

    Values largest() {
        using namespace packets;
        for (Index k = 0; k + 2 < n_; ++k) reflect(k);
        for (Index k = std::max<Index>(n_ - 2, 0); k < n_; ++k) {
            pstore(at(diagonal_, k), pload<Packet>(entry(k, k)));
            if (k + 1 < n_) {
                const auto e = pload<Packet>(entry(k + 1, k));
                pstore(at(beside_, k), pmul(e, e));
            }
        }
        return bisect();
    }

 private:
    // An interval as wide as the matrix is large is narrower than its rounding after so many halvings.
    static constexpr int kSteps = 54;

    static constexpr double kNothing = 1e-290;

    // The lower triangle, column after column.
    Index place(Index i, Index j) const { return j * (2 * n_ - j - 1) / 2 + i; }
    double* entry(Index i, Index j) { return at(triangle_, place(i, j)); }
    static double* at(Matrix<double>& m, Index i) { return m.data() + i * kLanes; }

    // Column k by a Householder reflector: with v = x + sign(x₀) ‖x‖ e₀ of the entries x below the diagonal,
    // β = 2 / ‖v‖², p = β A v and w = p − (β/2) (pᵀv) v, the rest A becomes A − v wᵀ − w vᵀ.
    void reflect(Index k) {
        using namespace packets;
        const Index start = k + 1;
        const Packet zero = pset1<Packet>(0.0), one = pset1<Packet>(1.0);
        pstore(at(diagonal_, k), pload<Packet>(entry(k, k)));
        const auto x0 = pload<Packet>(entry(start, k));
        Packet square = pmul(x0, x0);
        for (Index i = start + 1; i < n_; ++i) {
            const auto x = pload<Packet>(entry(i, k));
            square = pmadd(x, x, square);
            pstore(at(v_, i), x);
        }
        pstore(at(beside_, k), square);  // of the entry beside the diagonal its square is all that counts
        const Packet length = psqrt(square), first = padd(pabs(x0), length), half = pmul(length, first);
        pstore(at(v_, start), pselect(pcmp_lt(x0, zero), psub(zero, first), first));
        // Next to nothing, of whose reciprocal nothing can be made: rounding of rounding, in a matrix of low
        // rank.
        const Packet none = pcmp_lt(half, pset1<Packet>(kNothing));
        const Packet beta = pselect(none, zero, pdiv(one, pselect(none, one, half)));
        multiply(start);
        Packet between = zero;
        for (Index i = start; i < n_; ++i) {
            const Packet p = pmul(beta, pload<Packet>(at(w_, i)));
            pstore(at(w_, i), p);
            between = pmadd(p, pload<Packet>(at(v_, i)), between);
        }
        const Packet shift = psub(zero, pmul(pmul(pset1<Packet>(0.5), beta), between));
        for (Index i = start; i < n_; ++i)
            pstore(at(w_, i), pmadd(shift, pload<Packet>(at(v_, i)), pload<Packet>(at(w_, i))));
        for (Index j = start; j < n_; ++j) {
            const Packet v = psub(zero, pload<Packet>(at(v_, j))), w = psub(zero, pload<Packet>(at(w_, j)));
            for (Index i = j; i < n_; ++i) {
                const Packet a = pmadd(pload<Packet>(at(v_, i)), w, pload<Packet>(entry(i, j)));
                pstore(entry(i, j), pmadd(pload<Packet>(at(w_, i)), v, a));
            }
        }
    }

    // w = A v of the rest, each entry of the triangle read once.
    void multiply(Index start) {
        using namespace packets;
        for (Index i = start; i < n_; ++i) pstore(at(w_, i), pset1<Packet>(0.0));
        for (Index j = start; j < n_; ++j) {
            const auto v = pload<Packet>(at(v_, j));
            Packet sum = pmadd(pload<Packet>(entry(j, j)), v, pload<Packet>(at(w_, j)));
            for (Index i = j + 1; i < n_; ++i) {
                const auto a = pload<Packet>(entry(i, j));
                sum = pmadd(a, pload<Packet>(at(v_, i)), sum);
                pstore(at(w_, i), pmadd(a, v, pload<Packet>(at(w_, i))));
            }
            pstore(at(w_, j), sum);
        }
    }

    // No eigenvalue lies above x where every pivot of T − x I is negative. Between the largest diagonal entry
    // and Gershgorin's bound.
    Values bisect() {
        using namespace packets;
        const Packet zero = pset1<Packet>(0.0), half = pset1<Packet>(0.5);
        auto low = pload<Packet>(at(diagonal_, 0));
        Packet high = low, before = zero;
        for (Index i = 0; i < n_; ++i) {
            const auto d = pload<Packet>(at(diagonal_, i));
            const Packet after = i + 1 < n_ ? psqrt(pload<Packet>(at(beside_, i))) : zero;
            low = pmax(low, d);
            high = pmax(high, padd(d, padd(before, after)));
            before = after;
        }
        for (int step = 0; step < kSteps; ++step) {
            const Packet x = pmul(half, padd(low, high));
            Packet pivot = psub(pload<Packet>(at(diagonal_, 0)), x);
            Packet above = pcmp_lt(pivot, zero);
            for (Index i = 1; i < n_; ++i) {
                const Packet d = psub(pload<Packet>(at(diagonal_, i)), x);
                pivot = psub(d, pdiv(pload<Packet>(at(beside_, i - 1)), pivot));
                above = pand(above, pcmp_lt(pivot, zero));
            }
            high = pselect(above, x, high);
            low = pselect(above, low, x);
        }
        Values out;
        pstoreu(out.data(), pmul(half, padd(low, high)));
        return out;
    }

    Index n_;
    Matrix<double> triangle_, v_, w_, diagonal_, beside_;
};

}  // namespace

Vector<double> largest_eigenvalues(const MatrixView<double>& stack, Index n) {
    constexpr Index kLanes = SideBySide::kLanes;
    Vector<double> out(stack.rows);
    parallel_for((stack.rows + kLanes - 1) / kLanes, [&](Index group) {
        const Index first = group * kLanes, count = std::min(kLanes, stack.rows - first);
        SideBySide matrices(n);
        matrices.load(stack, first);
        out.segment(first, count) = matrices.largest().head(count).matrix();
    });
    return out;
}

}  // namespace fastcca

#include "fastcca/warp/warp.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/packet.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/hinge/pair.hpp"
#include "fastcca/moments/moments.hpp"

namespace fastcca {
namespace {

// Steps between two polls.
constexpr Index kPoll = 256;

// column ← column + factor · g, and its squared length; whole packets, of padded columns.
template <typename T>
T add_scaled(T factor, const T* g, Index padded, T* column) {
    using namespace packets;
    using Packet = PacketOf<T>;
    constexpr Index kLanes = kPacketLanes<Packet>;
    const Packet f = pset1<Packet>(factor);
    Packet squares = pset1<Packet>(T(0));
    for (Index k = 0; k < padded; k += kLanes) {
        const Packet x = pmadd(f, pload<Packet>(g + k), pload<Packet>(column + k));
        pstore(column + k, x);
        squares = pmadd(x, x, squares);
    }
    return predux(squares);
}

template <typename T>
class Descent {
    static constexpr Index kLanes = kPacketLanes<PacketOf<T>>;

 public:
    // W as one column for each feature, V as one for each class, padded with zeros to whole packets.
    Descent(const WarpEpoch<T>& epoch, const T* W, const T* V)
        : e_(epoch), padded_((epoch.width + kLanes - 1) / kLanes * kLanes) {
        using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
        W_.setZero(padded_, e_.X.cols);
        W_.topRows(e_.width) = Eigen::Map<const RowMajor>(W, e_.width, e_.X.cols);
        V_.setZero(padded_, e_.n_classes);
        V_.topRows(e_.width) = Eigen::Map<const Matrix<T>>(V, e_.width, e_.n_classes);
        z_.resize(padded_);
        g_.resize(padded_);
        x_.resize(e_.X.cols);
    }

    WarpResult run() {
        for (Index t = 0; t < e_.n_steps; ++t) {
            if (t % kPoll == 0) poll();
            step(t);
        }
        if (!W_.allFinite() || !V_.allFinite() || !std::isfinite(result_.loss))
            throw NumericalError("the WARP steps diverge: take a smaller learning_rate or a max_norm");
        return result_;
    }

    void write(T* W, T* V) const {
        using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
        Eigen::Map<RowMajor>(W, e_.width, e_.X.cols) = W_.topRows(e_.width);
        Eigen::Map<Matrix<T>>(V, e_.width, e_.n_classes) = V_.topRows(e_.width);
    }

 private:
    void step(Index t) {
        const Index i = e_.order[t], y = e_.y[i];
        const bool several = e_.positives != nullptr;
        const Index* const own_first = several ? e_.positives + e_.positive_starts[i] : e_.y + i;
        const Index* const own_last = several ? e_.positives + e_.positive_starts[i + 1] : own_first + 1;
        const Index m = e_.n_classes - (own_last - own_first);  // labels that the sample lacks
        for (Index j = 0; j < e_.X.cols; ++j) x_[j] = e_.X(i, j);
        if (!x_.allFinite())
            for (Index j = 0; j < e_.X.cols; ++j)
                if (!std::isfinite(x_[j])) throw NonFiniteError(0, i, j, std::isnan(x_[j]));
        z_.noalias() = W_ * x_;
        const double own = static_cast<double>(V_.col(y).dot(z_));
        const CounterRandom draws = hinge_draws(e_.seed, t, 0);
        for (Index draw = 1; draw <= m; ++draw) {
            ++result_.draws;
            const double at = draws(static_cast<std::uint64_t>(draw - 1)) * static_cast<double>(m);
            Index c = std::min(m - 1, static_cast<Index>(at));  // of those that the sample lacks
            for (const Index* other = own_first; other != own_last && *other <= c; ++other) ++c;
            const double violation = e_.margin - own + static_cast<double>(V_.col(c).dot(z_));
            if (!(violation > 0)) continue;
            const double weight = harmonic(m / draw);
            result_.loss += weight * violation;
            ++result_.updates;
            descend(y, c, static_cast<T>(e_.learning_rate * weight));
            return;
        }
    }

    void descend(Index y, Index c, T rate) {
        g_ = V_.col(y) - V_.col(c);
        move(V_.col(y).data(), z_.data(), rate);
        move(V_.col(c).data(), z_.data(), -rate);
        for (Index j = 0; j < e_.X.cols; ++j)
            if (x_[j] != 0) move(W_.col(j).data(), g_.data(), rate * x_[j]);
    }

    // A step of a column, and back onto the ball.
    void move(T* column, const T* direction, T factor) const {
        const T square = add_scaled(factor, direction, padded_, column);
        const T bound = static_cast<T>(e_.max_norm);
        if (bound > 0 && square > bound * bound)
            Eigen::Map<Vector<T>>(column, padded_) *= bound / std::sqrt(square);
    }

    const WarpEpoch<T>& e_;
    Index padded_;
    Matrix<T> W_, V_;
    Vector<T> z_, g_, x_;
    WarpResult result_;
};

template <typename T>
void check(const WarpEpoch<T>& e) {
    for (Index i = 0; i < e.X.rows; ++i)
        if (e.y[i] < 0 || e.y[i] >= e.n_classes)
            throw std::invalid_argument("y must hold classes from 0 to " + std::to_string(e.n_classes - 1) +
                                        ", got " + std::to_string(e.y[i]) + " at row " + std::to_string(i));
    if (e.positives)
        for (Index i = 0; i < e.X.rows; ++i) {
            const Index *first = e.positives + e.positive_starts[i],
                        *last = e.positives + e.positive_starts[i + 1];
            if (first == last || *first < 0 || *(last - 1) >= e.n_classes ||
                std::adjacent_find(first, last, std::greater_equal<Index>()) != last ||
                !std::binary_search(first, last, e.y[i]))
                throw std::invalid_argument("positives must have the class " + std::to_string(e.y[i]) +
                                            " at row " + std::to_string(i));
        }
    for (Index t = 0; t < e.n_steps; ++t)
        if (e.order[t] < 0 || e.order[t] >= e.X.rows)
            throw std::invalid_argument("order must hold rows from 0 to " + std::to_string(e.X.rows - 1) +
                                        ", got " + std::to_string(e.order[t]));
}

}  // namespace

template <typename T>
WarpResult warp_epoch(const WarpEpoch<T>& epoch, T* W, T* V) {
    check(epoch);
    Descent<T> descent(epoch, W, V);
    const WarpResult result = descent.run();
    descent.write(W, V);
    return result;
}

template WarpResult warp_epoch<float>(const WarpEpoch<float>&, float*, float*);
template WarpResult warp_epoch<double>(const WarpEpoch<double>&, double*, double*);

}  // namespace fastcca

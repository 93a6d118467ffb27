#include "fastcca/kernels/incomplete_cholesky.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"

namespace fastcca {
namespace {

// Rows of G a task updates, and candidates of a block at most: the wider, the less the products spend on
// packing.
constexpr Index kTileRows = 2048;
constexpr Index kMaxBlock = 256;
// Blocks without a pivot before a row is chosen without chance.
constexpr Index kBlocksInVain = 64;

// A pivot p divides the rounding errors of K(:, P) by √p: in the residual d of a row they become ε √(d / p).
// Greedy pivots are at least half of the largest residual, so that what is below a few ε of the diagonal is
// rounding and no information. Other pivots are refused below the fraction ε^⅓ of the largest residual, and
// the floor is then ε^⅚ of the diagonal. In float32 ε^⅓ is too little: the errors of one pivot are divided
// again by the next, which adds up to more than a hundredth of the diagonal where many pivots explain few
// rows.
template <typename T>
double floor_of(Pivoting pivoting) {
    const auto eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    return 16 * (pivoting == Pivoting::kGreedy ? eps : std::pow(eps, 5.0 / 6));
}
template <typename T>
double smallest_fraction() {
    return std::is_same_v<T, float> ? 1.0 / 16
                                    : std::cbrt(static_cast<double>(std::numeric_limits<T>::epsilon()));
}

// What rounding can leave below zero where a pivot of the size of the floor is divided by.
template <typename T>
constexpr double kNegative = std::is_same_v<T, double> ? 1e-7 : 5e-3;

// The diagonal and the values of one kernel may differ by so much, relative to the largest diagonal entry.
constexpr double kDisagreement = 1e-3;

}  // namespace

template <typename T>
PivotedCholesky<T>::PivotedCholesky(std::shared_ptr<KernelColumns<T>> kernel,
                                    const PivotedCholeskyOptions& options, Vector<double> weights)
    : kernel_(std::move(kernel)),
      options_(options),
      weights_(std::move(weights)),
      random_(options.seed),
      diagonal_(kernel_->diagonal()),
      residual_(diagonal_) {
    const Index n = kernel_->size();
    options_.rank = std::min(options_.rank, n);
    // Large blocks are fast, small ones choose better while the residuals still change quickly.
    if (options_.block < 1) options_.block = std::clamp<Index>(options_.rank / 8, 1, kMaxBlock);
    // More candidates than rows tell nothing new.
    options_.block = std::min(options_.block, n);
    if (weights_.size() == 0) weights_ = Vector<double>::Ones(n);
    heaviest_ = weights_.maxCoeff();
    for (Index i = 0; i < n; ++i) {
        if (!(residual_[i] >= 0)) {
            std::ostringstream message;
            message << "the kernel is not positive semidefinite: its value k(x, x) at row " << i << " is "
                    << residual_[i];
            throw NumericalError(message.str());
        }
        if (weights_[i] <= 0) residual_[i] = 0;
    }
    scale_ = largest_residual();
    floor_ = floor_of<T>(options_.pivoting) * scale_;
    trace_ = residual_.dot(weights_);
    if (!(trace_ > 0)) throw NumericalError("the kernel matrix has trace 0: k(x, x) is 0 at every row");
    if (!std::isfinite(trace_))
        throw NumericalError("the trace of the kernel matrix overflows: scale the data or the weights down");
    G_.resize(options_.rank, n);
    if (options_.pivoting == Pivoting::kUniform) {
        // Fisher and Yates: the pivots are a uniformly random subset, taken in order.
        order_.resize(static_cast<std::size_t>(n));
        std::iota(order_.begin(), order_.end(), Index{0});
        for (Index i = n - 1; i > 0; --i) {
            const auto j = static_cast<Index>(random_.next() * static_cast<double>(i + 1));
            std::swap(order_[static_cast<std::size_t>(i)], order_[static_cast<std::size_t>(j)]);
        }
    }
}

template <typename T>
double PivotedCholesky<T>::largest_residual() const {
    return residual_.maxCoeff();
}

template <typename T>
void PivotedCholesky<T>::check_pivot(double residual, Index row) const {
    if (residual >= -kNegative<T> * scale_) return;
    std::ostringstream message;
    message << "the kernel is not positive semidefinite: after " << rank() << " pivots the residual of row "
            << row << ", the next pivot's k(x, x) less what the pivots explain, is " << residual;
    throw NumericalError(message.str());
}

template <typename T>
void PivotedCholesky<T>::check_diagonal(const Matrix<double>& K, const std::vector<Index>& rows) const {
    for (Index j = 0; j < K.rows(); ++j) {
        const Index row = rows[static_cast<std::size_t>(j)];
        if (std::abs(K(j, j) - diagonal_[row]) <= kDisagreement * scale_) continue;
        std::ostringstream message;
        message << "the kernel disagrees with its diagonal: k(x, x) at row " << row << " is " << K(j, j)
                << " among its values, " << diagonal_[row] << " on its diagonal";
        throw NumericalError(message.str());
    }
}

template <typename T>
std::vector<Index> PivotedCholesky<T>::largest_residuals(Index count) const {
    std::vector<Index> order(static_cast<std::size_t>(residual_.size()));
    std::iota(order.begin(), order.end(), Index{0});
    const auto larger = [&](Index a, Index b) {
        return residual_[a] != residual_[b] ? residual_[a] > residual_[b] : a < b;
    };
    const auto end = order.begin() + std::min<Index>(count, residual_.size());
    std::nth_element(order.begin(), end - 1, order.end(), larger);
    order.erase(end, order.end());
    std::sort(order.begin(), order.end(), larger);
    // Rows of weight 0 have no residual here, whatever their kernel values say.
    while (!order.empty() && residual_[order.back()] <= floor_) order.pop_back();
    return order;
}

// Independent draws with probability proportional to the residual; the same row may come twice.
template <typename T>
std::vector<Index> PivotedCholesky<T>::sampled(Index count) {
    Vector<double> cumulative(residual_.size());
    double sum = 0;
    for (Index i = 0; i < residual_.size(); ++i) {
        // relative to the largest, whose products could overflow
        if (residual_[i] > floor_) sum += weights_[i] / heaviest_ * (residual_[i] / scale_);
        cumulative[i] = sum;
    }
    std::vector<Index> rows;
    for (Index c = 0; sum > 0 && c < count; ++c) {
        const double u = random_.next() * sum;
        const auto at = std::upper_bound(cumulative.data(), cumulative.data() + cumulative.size(), u);
        rows.push_back(std::min<Index>(at - cumulative.data(), residual_.size() - 1));
    }
    return rows;
}

// The next rows of the permutation; from its start again where rows were refused that may do by now.
template <typename T>
std::vector<Index> PivotedCholesky<T>::next_uniform(Index count) {
    std::vector<Index> rows;
    const auto n = static_cast<Index>(order_.size());
    if (next_ == n) next_ = 0;
    for (; next_ < n && static_cast<Index>(rows.size()) < count; ++next_) {
        const Index row = order_[static_cast<std::size_t>(next_)];
        if (residual_[row] > floor_) rows.push_back(row);
    }
    if (rows.empty() && largest_residual() > floor_) return next_uniform(count);
    return rows;
}

template <typename T>
std::vector<Index> PivotedCholesky<T>::candidates() {
    const Index left = options_.rank - rank();
    switch (options_.pivoting) {
        case Pivoting::kGreedy:
            return largest_residuals(options_.block);
        case Pivoting::kRandom:
            return sampled(options_.block);
        default:
            return next_uniform(std::min(options_.block, left));
    }
}

// Factors the candidates' residual matrix, leaving out those that the strategy rejects.
template <typename T>
typename PivotedCholesky<T>::Block PivotedCholesky<T>::take(const std::vector<Index>& rows) {
    const auto b = static_cast<Index>(rows.size());
    const Index t = rank();
    // H = K(S, S) - G(S) G(S)ᵀ
    Matrix<double> H = kernel_->square(rows);
    check_diagonal(H, rows);
    if (t > 0) {
        Matrix<double> GS(t, b);
        for (Index j = 0; j < b; ++j)
            GS.col(j) = G_.col(rows[static_cast<std::size_t>(j)]).head(t).template cast<double>();
        symmetric_product<double>(-1, GS, Op::kTranspose, 1, H);
    }
    Block block;
    Matrix<double> columns(b, std::min(b, options_.rank - t));
    std::vector<Index> taken;  // positions among the candidates
    std::vector<char> open(static_cast<std::size_t>(b), 1);
    // Rows that are no candidates have residuals of at most the smallest candidate's.
    const double outside = options_.pivoting == Pivoting::kGreedy ? residual_[rows.back()] : 0;
    const Vector<double> first = H.diagonal();
    const auto accept = [&](Index j) {
        const auto k = static_cast<Index>(taken.size());
        // Column j of the factor, then the rank-one downdate of what is left.
        columns.col(k) = H.col(j) / std::sqrt(H(j, j));
        H.noalias() -= columns.col(k) * columns.col(k).transpose();
        taken.push_back(j);
        open[static_cast<std::size_t>(j)] = 0;
    };
    const bool greedy = options_.pivoting == Pivoting::kGreedy;
    const double floor = greedy ? floor_ : std::max(floor_, smallest_fraction<T>() * largest_residual());
    for (Index step = 0; step < b && static_cast<Index>(taken.size()) < columns.cols(); ++step) {
        Index j = step;
        if (greedy) {
            j = -1;
            for (Index c = 0; c < b; ++c)
                if (open[static_cast<std::size_t>(c)] && (j < 0 || H(c, c) > H(j, j))) j = c;
        }
        if (j < 0) break;
        const Index row = rows[static_cast<std::size_t>(j)];
        check_pivot(H(j, j), row);
        if (greedy) {
            // Below half of what may wait outside, the candidates are put back.
            if (H(j, j) <= floor || H(j, j) < outside / 2) break;
        } else if (first[j] <= floor_) {
            residual_[row] = 0;  // nothing but rounding: not to be tried again
            continue;
        } else if (options_.pivoting == Pivoting::kRandom) {
            // Rejection: with probability H_jj / H_jj at the start, the candidate is a draw from today's
            // residuals.
            if (random_.next() * first[j] >= H(j, j) || H(j, j) <= floor) continue;
        } else if (H(j, j) <= floor) {
            continue;
        }
        accept(j);
    }
    const auto a = static_cast<Index>(taken.size());
    block.L = Matrix<double>::Zero(a, a);
    for (Index i = 0; i < a; ++i) {
        const Index row = taken[static_cast<std::size_t>(i)];
        block.pivots.push_back(rows[static_cast<std::size_t>(row)]);
        block.L.row(i).head(i + 1) = columns.row(row).head(i + 1);
    }
    return block;
}

template <typename T>
void PivotedCholesky<T>::append(Block& block) {
    const Index n = kernel_->size();
    const Index t = rank();
    const auto a = static_cast<Index>(block.pivots.size());
    kernel_->choose(block.pivots);
    Matrix<T> GP(a, t);
    for (Index j = 0; j < a; ++j)
        GP.row(j) = G_.col(block.pivots[static_cast<std::size_t>(j)]).head(t).transpose();
    const Matrix<T> L = block.L.template cast<T>();
    const Index tiles = (n + kTileRows - 1) / kTileRows;
    Matrix<double> explained(a, tiles);  // weighted |G_new|² per pivot and tile
    Vector<Index> lowest(tiles);         // the row whose residual fell furthest below zero
    Vector<double> below(tiles);
    parallel_for(tiles, [&](Index task) {
        const Index first = task * kTileRows;
        const Index rows = std::min(kTileRows, n - first);
        MutableRef<T> out = G_.block(t, first, a, rows);
        kernel_->tile(first, out);
        // Gᵀ_new = L⁻¹ (K(P, :) - G(P) Gᵀ)
        if (t > 0) gemm<T>(-1, GP, Op::kNone, G_.block(0, first, t, rows), Op::kNone, 1, out);
        solve_lower<T>(L, out);
        Vector<double> square(a);
        explained.col(task).setZero();
        below[task] = 0;
        lowest[task] = first;
        for (Index i = 0; i < rows; ++i) {
            square = out.col(i).template cast<double>().cwiseAbs2();
            explained.col(task) += weights_[first + i] * square;
            double& d = residual_[first + i];
            d -= square.sum();
            if (std::isnan(d)) d = -std::numeric_limits<double>::infinity();
            if (d < below[task] && weights_[first + i] > 0) {
                below[task] = d;
                lowest[task] = first + i;
            }
            d = std::max(d, 0.0);
        }
    });
    Index worst = 0;
    const double least = below.minCoeff(&worst);
    for (Index j = 0; j < a; ++j) {
        // Rows of pivots are known: those of L, and nothing remains of them.
        const Index row = block.pivots[static_cast<std::size_t>(j)];
        G_.col(row).segment(t, a) = L.row(j).transpose();
        residual_[row] = 0;
        pivots_.push_back(row);
    }
    for (Index j = 0; j < t; ++j) G_.col(pivots_[static_cast<std::size_t>(j)]).segment(t, a).setZero();
    check_pivot(least, lowest[worst]);
    // The trace after each pivot, from the last one back: sums of what is small stay accurate.
    const std::size_t start = residual_trace_.size();
    residual_trace_.resize(start + static_cast<std::size_t>(a));
    double left = residual_.dot(weights_);
    for (Index j = a - 1; j >= 0; --j) {
        residual_trace_[start + static_cast<std::size_t>(j)] = left;
        left += explained.row(j).sum();
    }
    // The first pivot that reached the tolerance is the last one to keep.
    for (Index j = 0; j < a; ++j)
        if (residual_trace_[start + static_cast<std::size_t>(j)] <= options_.tol * trace_) {
            residual_trace_.resize(start + static_cast<std::size_t>(j) + 1);
            pivots_.resize(residual_trace_.size());
            break;
        }
}

template <typename T>
bool PivotedCholesky<T>::step() {
    if (rank() >= options_.rank || largest_residual() <= floor_ ||
        (rank() > 0 && residual_trace_.back() <= options_.tol * trace_))
        return false;
    // Every candidate may be rejected by chance, or be a copy of a pivot but for rounding. When so many
    // blocks have been in vain (of the uniform subset, all of its rows), the row of the largest residual is
    // tried.
    const bool greedy = options_.pivoting == Pivoting::kGreedy;
    const Index most = options_.pivoting == Pivoting::kRandom
                           ? kBlocksInVain
                           : kernel_->size() / options_.block + kBlocksInVain;
    for (Index in_vain = 0; in_vain < most; ++in_vain) {
        poll();
        const std::vector<Index> rows = in_vain + 1 < most ? candidates() : largest_residuals(1);
        if (rows.empty()) return false;
        Block block = take(rows);
        if (!block.pivots.empty()) {
            append(block);
            return true;
        }
        if (greedy) return false;
    }
    // What is left by the running count is not there: by as little as rounding leaves, or by more.
    if (largest_residual() > kNegative<T> * scale_)
        throw NumericalError(
            "the kernel is not positive semidefinite: its residuals disagree with its values");
    return false;
}

template class PivotedCholesky<float>;
template class PivotedCholesky<double>;

}  // namespace fastcca

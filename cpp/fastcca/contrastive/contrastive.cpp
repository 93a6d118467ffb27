#include "fastcca/contrastive/contrastive.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "fastcca/base/errors.hpp"
#include "fastcca/base/thread_pool.hpp"
#include "fastcca/contrastive/sweep.hpp"
#include "fastcca/linalg/rows.hpp"

namespace fastcca {
namespace {

constexpr Index kRows = 256;    // of a task of the passes over rows
constexpr Index kEntries = 64;  // of a task of the passes over entries
constexpr const char* kOverflow =
    "the scores of the contrastive loss overflow: scale the rows down or take a higher temperature";
constexpr const char* kLossOverflow =
    "the contrastive loss overflows: scale the rows or the weights down or take a higher temperature";
constexpr const char* kGradientOverflow =
    "the gradient of the contrastive loss overflows: the rows are too short or the temperature is too low";

double softplus(double u) { return std::max(u, 0.0) + std::log1p(std::exp(-std::abs(u))); }
double sigmoid(double u) {
    const double e = std::exp(-std::abs(u));
    return (u > 0 ? 1 : e) / (1 + e);
}

// A view with the weights of its rows and of the other view's, and how its rows find their pairs.
template <typename T>
struct Side {
    const ContrastiveSide<T>* rows;
    const double* weights;
    double weight;

    bool weighted() const { return weights || weight != 0; }
    double operator[](Index i) const { return weights ? weights[i] : weight; }
    Index count() const { return rows->X.cols(); }
};

// The labels of both sides, for kSoftmax: means and weighted sums over the rows of a label, d × labels.
struct LabelSums {
    std::vector<double> a_count, b_count;
    Matrix<double> a_mean, b_mean;    // of x_i and y_j
    Matrix<double> a_share, b_share;  // Σ_i ω_i x_i / count of b, Σ_j ψ_j y_j / count of a
};

template <typename T>
class Contrast {
 public:
    Contrast(const ContrastiveProblem<T>& problem, T* grad_A, T* grad_B)
        : p_(problem),
          d_(problem.A.cols),
          n_a_(problem.A.rows),
          n_b_(problem.B.rows),
          A_(d_, n_a_),
          B_(d_, n_b_),
          a_{&A_, problem.a_weights, problem.a_weight},
          b_{&B_, problem.b_weights, problem.b_weight},
          grad_A_(grad_A),
          grad_B_(grad_B) {}

    ContrastiveValue run() {
        prepare();
        const ContrastiveValue out = p_.loss == ContrastiveLoss::kSigmoid ? sigmoid_loss() : softmax_loss();
        if (!std::isfinite(out.value)) throw NumericalError(kLossOverflow);
        if (!std::isfinite(out.scale_slope) || !std::isfinite(out.bias_slope))
            throw NumericalError(kGradientOverflow);
        return out;
    }

 private:
    bool labels() const { return p_.a_codes && p_.codes == ContrastiveCodes::kLabels; }
    bool wanted() const { return grad_A_ != nullptr; }
    Index own(Index i) const { return p_.shift + i; }

    void prepare() {
        const auto longest = [&](ContrastiveSide<T>& side, const MatrixView<T>& view, std::size_t which) {
            load_rows<T>(view, which, nullptr, kOverflow, side.X, side.lengths);
            if (p_.similarity == ContrastiveSimilarity::kDot) return std::sqrt(side.lengths.maxCoeff());
            normalise_columns(side.X, side.lengths);
            return 1.0;
        };
        const double a = longest(A_, p_.A, 0), b = longest(B_, p_.B, 1);
        largest_ = std::abs(p_.scale) * a * b + std::abs(p_.bias);
        if (!(4 * largest_ < static_cast<double>(std::numeric_limits<T>::max())))
            throw NumericalError(kOverflow);
        // By default each vector is its own item, and its pair's.
        const bool apart = p_.loss == ContrastiveLoss::kSoftmax && labels();
        for (Index i = 0; i < n_a_; ++i)
            A_.codes[i] = static_cast<T>(apart ? 0 : p_.a_codes ? p_.a_codes[i] : own(i));
        for (Index j = 0; j < n_b_; ++j)
            B_.codes[j] = static_cast<T>(apart ? 1 : p_.b_codes ? p_.b_codes[j] : j);
        own_.resize(n_a_);
        parallel_for((n_a_ + kRows - 1) / kRows, [&](Index block) {
            for (Index i = block * kRows; i < std::min(n_a_, (block + 1) * kRows); ++i)
                own_[i] = A_.X.col(i).template cast<double>().dot(B_.X.col(own(i)).template cast<double>());
        });
        of_own_.setZero(n_a_);
    }

    // Rounded as the sweeps round theirs: equal scores stay equal.
    double own_score(Index i) const {
        return static_cast<double>(
            std::fma(static_cast<T>(own_[i]), static_cast<T>(p_.scale), static_cast<T>(p_.bias)));
    }

    ContrastiveValue sigmoid_loss() {
        return labels() ? sigmoid_loss<ContrastiveRule::kSigns>()
                        : sigmoid_loss<ContrastiveRule::kNegatives>();
    }

    ContrastiveValue softmax_loss() {
        // No exp(s − m) with −largest ≤ s ≤ m = largest, nor its inverse, may leave the numbers of T.
        return largest_ <= (sizeof(T) == 4 ? 40.0 : 300.0) ? softmax_loss<ContrastiveRule::kNarrow>()
                                                           : softmax_loss<ContrastiveRule::kWide>();
    }

    template <ContrastiveRule kRule>
    ContrastiveValue sigmoid_loss() {
        ContrastiveSweep<T, kRule> sweep(A_, B_, p_.scale, p_.bias, largest_);
        const ContrastiveFactors<T> a = plain(a_), b = plain(b_);
        Scratch<T> G(d_, wanted() ? n_a_ : 0);
        const auto totals = sweep.run(a, b, wanted() ? &G : nullptr);
        ContrastiveValue out;
        out.value = totals.value;
        out.bias_slope = totals.weights;
        if (!labels())
            for (Index i = 0; i < n_a_; ++i) {
                const double weight = a_[i] + b_[own(i)], s = own_score(i);
                out.value += weight * softplus(-s);
                of_own_[i] = -weight * sigmoid(-s);
                out.bias_slope += of_own_[i];
            }
        if (wanted()) out.scale_slope = finish(sweep, G);
        return out;
    }

    ContrastiveFactors<T> plain(const Side<T>& side) const {
        ContrastiveFactors<T> out{Vector<T>(side.count()), Vector<T>::Zero(side.count())};
        for (Index i = 0; i < side.count(); ++i) out.factor[i] = static_cast<T>(side[i]);
        return out;
    }

    template <ContrastiveRule kRule>
    ContrastiveValue softmax_loss() {
        ContrastiveSweep<T, kRule> sweep(A_, B_, p_.scale, p_.bias, largest_);
        std::vector<Exponentials> of_a, of_b;
        sweep.sum_exponentials(of_a, of_b);
        if (labels()) sum_labels();
        ContrastiveFactors<T> a, b;
        ContrastiveValue out;
        out.value = direction(a_, of_a, a, true) + direction(b_, of_b, b, false);
        if (!wanted()) return out;
        Scratch<T> G(d_, n_a_);
        sweep.run(a, b, &G);
        out.scale_slope = finish(sweep, G);
        return out;
    }

    // Σ_i ω_i (log Σ_j exp s_ij − s̄_i), and what W_ij = ω_i exp(s_ij) / Σ_j exp s_ij is made of.
    double direction(const Side<T>& side, const std::vector<Exponentials>& sums,
                     ContrastiveFactors<T>& factors, bool of_a) {
        factors = {Vector<T>::Zero(side.count()), Vector<T>::Zero(side.count())};
        double value = 0;
        for (Index k = 0; k < side.count(); ++k) {
            const Exponentials& e = sums[static_cast<std::size_t>(k)];
            factors.shift[k] = static_cast<T>(e.largest);
            if (!side.weighted()) continue;
            const double weight = side[k];
            // Σ exp s = sum exp(largest): the two are kept apart, so that large scores cost no digits.
            const double log_sum = e.sum > 0 ? std::log(e.sum) : -kInfinity;
            if (labels()) {
                value += weight * ((e.largest - mean_positive(k, of_a)) + log_sum);
                factors.factor[k] = static_cast<T>(weight / e.sum);
            } else {
                // log(e^s + Σ e) = s + log(1 + e^u), exact where the loss is next to nothing
                const Index i = of_a ? k : k - p_.shift;
                const double above = e.largest - own_score(i), u = above + log_sum;
                value += weight * softplus(u);
                of_own_[i] -= weight * sigmoid(u);
                // largest less log(e^s + Σ e): above - softplus(u)
                const double rest = std::log1p(std::exp(-std::abs(u)));
                factors.factor[k] = static_cast<T>(weight * std::exp((u > 0 ? -log_sum : above) - rest));
            }
        }
        return value;
    }

    // ---- labels

    Index label(Index k, bool of_a) const { return of_a ? p_.a_codes[k] : p_.b_codes[k]; }

    void sum_labels() {
        Index n = 0;
        for (Index i = 0; i < n_a_; ++i) n = std::max(n, p_.a_codes[i] + 1);
        for (Index j = 0; j < n_b_; ++j) n = std::max(n, p_.b_codes[j] + 1);
        labels_.a_count.assign(static_cast<std::size_t>(n), 0);
        labels_.b_count = labels_.a_count;
        for (Index i = 0; i < n_a_; ++i) ++labels_.a_count[static_cast<std::size_t>(p_.a_codes[i])];
        for (Index j = 0; j < n_b_; ++j) ++labels_.b_count[static_cast<std::size_t>(p_.b_codes[j])];
        for (Matrix<double>* M : {&labels_.a_mean, &labels_.b_mean, &labels_.a_share, &labels_.b_share})
            M->setZero(d_, n);
        parallel_for((d_ + kEntries - 1) / kEntries, [&](Index part) {
            const Index first = part * kEntries, count = std::min(kEntries, d_ - first);
            const auto add = [&](const Side<T>& side, bool of_a, const std::vector<double>& counts,
                                 const std::vector<double>& others, Matrix<double>& mean,
                                 Matrix<double>& share) {
                for (Index k = 0; k < side.count(); ++k) {
                    const Index l = label(k, of_a);
                    const auto x = side.rows->X.col(k).segment(first, count).template cast<double>();
                    mean.col(l).segment(first, count) += x / counts[static_cast<std::size_t>(l)];
                    if (others[static_cast<std::size_t>(l)] > 0)
                        share.col(l).segment(first, count) +=
                            side[k] / others[static_cast<std::size_t>(l)] * x;
                }
            };
            add(a_, true, labels_.a_count, labels_.b_count, labels_.a_mean, labels_.a_share);
            add(b_, false, labels_.b_count, labels_.a_count, labels_.b_mean, labels_.b_share);
        });
    }

    // s̄ = scale x·(mean of the other side's rows of its label)
    double mean_positive(Index k, bool of_a) const {
        const auto& X = of_a ? A_.X : B_.X;
        const auto& mean = of_a ? labels_.b_mean : labels_.a_mean;
        return p_.scale * X.col(k).template cast<double>().dot(mean.col(label(k, of_a))) + p_.bias;
    }

    // ---- the last step of the gradients

    template <typename Sweep>
    double finish(const Sweep& sweep, const Scratch<T>& G) {
        const bool by_label = labels() && p_.loss == ContrastiveLoss::kSoftmax, by_pair = !labels();
        Vector<double> slopes(n_a_);
        const auto rows = [&](Index n, const auto& row) {
            parallel_for((n + kRows - 1) / kRows, [&](Index block) {
                Vector<double> g(d_);
                for (Index k = block * kRows; k < std::min(n, (block + 1) * kRows); ++k) row(k, g);
            });
        };
        rows(n_a_, [&](Index i, Vector<double>& g) {
            g = G.col(i).template cast<double>();
            if (by_pair) g += of_own_[i] * B_.X.col(own(i)).template cast<double>();
            if (by_label) g -= a_[i] * labels_.b_mean.col(p_.a_codes[i]) + labels_.b_share.col(p_.a_codes[i]);
            slopes[i] = A_.X.col(i).template cast<double>().dot(g);
            write(A_, i, g, grad_A_);
        });
        rows(n_b_, [&](Index j, Vector<double>& g) {
            sweep.side_b(j, g);
            const Index i = j - p_.shift;
            if (by_pair && i >= 0 && i < n_a_) g += of_own_[i] * A_.X.col(i).template cast<double>();
            if (by_label) g -= labels_.a_share.col(p_.b_codes[j]) + b_[j] * labels_.a_mean.col(p_.b_codes[j]);
            write(B_, j, g, grad_B_);
        });
        double slope = 0;
        for (Index i = 0; i < n_a_; ++i) slope += slopes[i];
        return slope;
    }

    // Of a unit vector x = X/‖X‖: dL/dX = (g − x xᵀg) / ‖X‖ with g = dL/dx.
    void write(const ContrastiveSide<T>& side, Index k, Vector<double>& g, T* to) const {
        g *= p_.scale;
        if (p_.similarity == ContrastiveSimilarity::kCosine) {
            if (side.lengths[k] == 0) {
                g.setZero();
            } else {
                const auto x = side.X.col(k).template cast<double>();
                g -= x.dot(g) * x;
                g /= side.lengths[k];
            }
        }
        bool finite = true;
        for (Index e = 0; e < d_; ++e) {
            const T value = static_cast<T>(g[e]);
            finite = finite && std::isfinite(value);
            to[k * d_ + e] = value;
        }
        if (!finite) throw NumericalError(kGradientOverflow);
    }

    const ContrastiveProblem<T>& p_;
    Index d_, n_a_, n_b_;
    ContrastiveSide<T> A_, B_;
    Side<T> a_, b_;
    T *grad_A_, *grad_B_;
    double largest_ = 0;
    Vector<double> own_, of_own_;  // x_i·y_own, and dLoss/ds of it
    LabelSums labels_;
};

}  // namespace

template <typename T>
ContrastiveValue contrastive_loss(const ContrastiveProblem<T>& problem, T* grad_A, T* grad_B) {
    return Contrast<T>(problem, grad_A, grad_B).run();
}

template ContrastiveValue contrastive_loss<float>(const ContrastiveProblem<float>&, float*, float*);
template ContrastiveValue contrastive_loss<double>(const ContrastiveProblem<double>&, double*, double*);

}  // namespace fastcca

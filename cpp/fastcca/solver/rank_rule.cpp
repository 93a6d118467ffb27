#include "fastcca/solver/rank_rule.hpp"

#include <cmath>
#include <limits>

namespace fastcca {

bool is_constant(double norm, double n, double mean, double eps) {
    return !(norm > std::sqrt(n) * 4 * eps * std::abs(mean));
}

double entry_noise(double norm, double n, double mean, double eps) {
    // rms / sd = √(1 + n mean² / norm²)
    return eps * std::hypot(1.0, std::sqrt(n) * std::abs(mean) / norm);
}

std::vector<Index> RankRule::kept(const Vector<double>& s,
                                  const std::function<Matrix<double>()>& directions) const {
    std::vector<Index> kept;
    if (s.size() == 0 || !(s[0] > 0)) return kept;
    const double bound = most_noise();
    Matrix<double> V;
    for (Index i = 0; i < s.size() && s[i] > arithmetic * s[0]; ++i) {
        if (s[i] <= bound) {
            if (V.size() == 0) V = directions();
            // σ <= Σ |vⱼ| δⱼ
            if (s[i] <= V.col(i).cwiseAbs().dot(noise)) continue;
        }
        kept.push_back(i);
    }
    return kept;
}

double data_arithmetic(Index d) {
    return 4 * std::numeric_limits<double>::epsilon() * std::sqrt(static_cast<double>(d));
}

}  // namespace fastcca

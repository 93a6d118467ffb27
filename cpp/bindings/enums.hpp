// Enums of the core as arguments from Python, which knows them by their names.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <stdexcept>
#include <string>
#include <utility>

#include "fastcca/contrastive/contrastive.hpp"
#include "fastcca/hinge/hinge.hpp"
#include "fastcca/kernels/incomplete_cholesky.hpp"
#include "fastcca/kernels/kernel.hpp"
#include "fastcca/retrieval/top_k.hpp"

namespace fastcca::bindings {

template <typename Enum, std::size_t n>
using Names = std::array<std::pair<const char*, Enum>, n>;

constexpr Names<Similarity, 3> names_of(Similarity) {
    return {{{"inner_product", Similarity::kInnerProduct},
             {"cosine", Similarity::kCosine},
             {"euclidean", Similarity::kEuclidean}}};
}
constexpr Names<HingeSimilarity, 2> names_of(HingeSimilarity) {
    return {{{"euclidean", HingeSimilarity::kEuclidean}, {"cosine", HingeSimilarity::kCosine}}};
}
constexpr Names<HingeLoss, 6> names_of(HingeLoss) {
    return {{{"sum", HingeLoss::kSum},
             {"worst", HingeLoss::kWorst},
             {"semihard", HingeLoss::kSemiHard},
             {"rank", HingeLoss::kRank},
             {"warp", HingeLoss::kSampled},
             {"softmax", HingeLoss::kSoftmax}}};
}
constexpr Names<ContrastiveLoss, 2> names_of(ContrastiveLoss) {
    return {{{"softmax", ContrastiveLoss::kSoftmax}, {"sigmoid", ContrastiveLoss::kSigmoid}}};
}
constexpr Names<ContrastiveSimilarity, 2> names_of(ContrastiveSimilarity) {
    return {{{"cosine", ContrastiveSimilarity::kCosine}, {"inner_product", ContrastiveSimilarity::kDot}}};
}
constexpr Names<ContrastiveCodes, 2> names_of(ContrastiveCodes) {
    return {{{"groups", ContrastiveCodes::kItems}, {"labels", ContrastiveCodes::kLabels}}};
}
constexpr Names<KernelType, 6> names_of(KernelType) {
    return {{{"rbf", KernelType::kRbf},
             {"laplacian", KernelType::kLaplacian},
             {"polynomial", KernelType::kPolynomial},
             {"linear", KernelType::kLinear},
             {"cosine", KernelType::kCosine},
             {"given", KernelType::kGiven}}};
}
constexpr Names<Pivoting, 3> names_of(Pivoting) {
    return {{{"greedy", Pivoting::kGreedy}, {"random", Pivoting::kRandom}, {"uniform", Pivoting::kUniform}}};
}

template <typename Enum>
struct EnumCaster {
    PYBIND11_TYPE_CASTER(Enum, pybind11::detail::const_name("str"));

    bool load(pybind11::handle source, bool) {
        if (!PyUnicode_Check(source.ptr())) return false;
        const auto wanted = source.cast<std::string>();
        std::string expected;
        for (const auto& [name, member] : names_of(Enum{})) {
            if (wanted == name) {
                value = member;
                return true;
            }
            expected += std::string(expected.empty() ? "" : ", ") + name;
        }
        throw std::invalid_argument("expected one of " + expected + ", got '" + wanted + "'");
    }
};

}  // namespace fastcca::bindings

namespace pybind11::detail {

template <>
struct type_caster<fastcca::Similarity> : fastcca::bindings::EnumCaster<fastcca::Similarity> {};
template <>
struct type_caster<fastcca::HingeSimilarity> : fastcca::bindings::EnumCaster<fastcca::HingeSimilarity> {};
template <>
struct type_caster<fastcca::HingeLoss> : fastcca::bindings::EnumCaster<fastcca::HingeLoss> {};
template <>
struct type_caster<fastcca::ContrastiveLoss> : fastcca::bindings::EnumCaster<fastcca::ContrastiveLoss> {};
template <>
struct type_caster<fastcca::ContrastiveSimilarity>
    : fastcca::bindings::EnumCaster<fastcca::ContrastiveSimilarity> {};
template <>
struct type_caster<fastcca::ContrastiveCodes> : fastcca::bindings::EnumCaster<fastcca::ContrastiveCodes> {};
template <>
struct type_caster<fastcca::KernelType> : fastcca::bindings::EnumCaster<fastcca::KernelType> {};
template <>
struct type_caster<fastcca::Pivoting> : fastcca::bindings::EnumCaster<fastcca::Pivoting> {};

}  // namespace pybind11::detail

#include "fastcca/base/scratch.hpp"

#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastcca {
namespace {

constexpr std::size_t kKept = std::size_t{64} << 20;  // bytes that the process keeps, …
constexpr std::size_t kPieces = 256;                  // … in this many blocks: they are searched one by one
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kAlignment = 64;

struct Piece {
    void* data;
    std::size_t bytes;
};

struct Store {
    std::mutex mutex;
    std::vector<Piece> pieces;  // the longest unused first
    std::size_t kept = 0;
};

// Never destroyed: blocks may be given back by whatever is destroyed last.
Store& store() {
    static Store& the_store = *new Store;
    return the_store;
}

std::align_val_t alignment(std::size_t bytes) {
    return static_cast<std::align_val_t>(bytes >= 2 * kHugePage ? kHugePage : kAlignment);
}

void release(const Piece& piece) noexcept { ::operator delete(piece.data, alignment(piece.bytes)); }

bool keep(const Piece& piece) noexcept {
    const std::unique_lock<std::mutex> lock(store().mutex, std::try_to_lock);
    if (!lock) return false;
    auto& pieces = store().pieces;
    try {
        pieces.push_back(piece);
    } catch (const std::bad_alloc&) {
        return false;
    }
    store().kept += piece.bytes;
    for (; store().kept > kKept || pieces.size() > kPieces; pieces.erase(pieces.begin())) {
        store().kept -= pieces.front().bytes;
        release(pieces.front());
    }
    return true;
}

}  // namespace

Block::Block(std::size_t bytes) : bytes_((bytes + kPage - 1) / kPage * kPage) {
    if (bytes == 0) return;
    // The store is never waited for: who does not get it does without (so does the child of a fork that
    // happened while another thread had it).
    if (const std::unique_lock<std::mutex> lock(store().mutex, std::try_to_lock); lock) {
        auto& pieces = store().pieces;
        // The smallest that holds them, of equal ones the last used, which is the likeliest to be in a cache.
        std::size_t best = pieces.size();
        for (std::size_t i = pieces.size(); i-- > 0;) {
            const std::size_t size = pieces[i].bytes;
            if (size < bytes_ || size > 2 * bytes_) continue;
            if (best == pieces.size() || size < pieces[best].bytes) best = i;
            if (size == bytes_) break;
        }
        if (best != pieces.size()) {
            data_ = pieces[best].data;
            bytes_ = pieces[best].bytes;
            store().kept -= bytes_;
            pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(best));
            return;
        }
    }
    data_ = ::operator new(bytes_, alignment(bytes_));
#if defined(__linux__)
    if (bytes_ >= 2 * kHugePage) madvise(data_, bytes_, MADV_HUGEPAGE);  // a wish: failure does no harm
#endif
}

Block::~Block() {
    if (!data_) return;
    if (bytes_ > kKept / 4 || !keep({data_, bytes_})) release({data_, bytes_});
}

}  // namespace fastcca

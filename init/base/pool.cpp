// operator new and delete out of size-class pools, for the target programs.
//
// musl's malloc is made to be small and safe, not fast; a dataspace allocates a small block for
// nearly every event. Sizes up to 1 KiB are rounded up to one of a few and served from slabs of
// 64 KiB, one size to a slab: a free block is a link in the list of its size, so both directions
// are a few instructions. All slabs lie in one range of addresses that is reserved once and touched
// page by page, so the slab of a block, and with it the size, follows from its address, and memory
// that was never used costs nothing. Larger blocks, and all when the range is used up or could not
// be reserved, come from malloc.
//
// This is the one place with state of the whole program: it stands for the heap. It is not thread
// safe; the target programs have one thread. The host's programs and tests keep the host's heap.
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#if !defined(__GLIBC__)

namespace {

constexpr size_t granule = 16;
constexpr size_t largest = 1024;
constexpr size_t fine = 256; // up to here every multiple of the granule is a size
constexpr size_t fine_classes = fine / granule + 1;
constexpr size_t classes = fine_classes + 8;
constexpr size_t slab_size = 64 * 1024;
constexpr size_t range_size = size_t{1} << 30;

struct Free {
    Free* next;
};

struct Pool {
    Free* free[classes];  // given back
    char* fresh[classes]; // the untouched rest of the newest slab
    char* end[classes];   // of that slab
    char* range;          // where all slabs lie; null: not yet, or not to be had
    size_t used;          // of the range
    bool unavailable;
    uint8_t class_of[range_size / slab_size];
};

Pool pool; // zero at start, and untouched pages of it cost nothing

bool reserve() {
    if (pool.range || pool.unavailable) return pool.range != nullptr;
    void* range = mmap(nullptr, range_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    pool.unavailable = range == MAP_FAILED;
    if (!pool.unavailable) pool.range = static_cast<char*>(range);
    return !pool.unavailable;
}

// Beyond `fine` there are four sizes from each power of two to the next: each size that was ever
// used costs the rest of a page.
size_t class_for(size_t size) {
    if (size <= fine) return size == 0 ? 1 : (size + granule - 1) / granule;
    const size_t step = size <= 2 * fine ? fine / 4 : fine / 2;
    const size_t first = size <= 2 * fine ? fine_classes : fine_classes + 4;
    return first + (size - 1) / step - 4;
}

size_t size_of(size_t index) {
    if (index < fine_classes) return index * granule;
    const size_t coarse = index - fine_classes;
    return coarse < 4 ? (coarse + 5) * (fine / 4) : (coarse + 1) * (fine / 2);
}

void* take_fresh(size_t index) {
    size_t size = size_of(index);
    if (pool.end[index] - pool.fresh[index] < static_cast<std::ptrdiff_t>(size)) {
        if (!reserve() || pool.used == range_size) return std::malloc(size);
        pool.class_of[pool.used / slab_size] = static_cast<uint8_t>(index);
        pool.fresh[index] = pool.range + pool.used;
        pool.end[index] = pool.fresh[index] + slab_size;
        pool.used += slab_size;
    }
    char* block = pool.fresh[index];
    pool.fresh[index] += size;
    return block;
}

void* allocate(size_t size) {
    if (size > largest) return std::malloc(size);
    size_t index = class_for(size);
    if (Free* block = pool.free[index]) {
        pool.free[index] = block->next;
        return block;
    }
    return take_fresh(index);
}

void give_back(void* block) {
    auto* at = static_cast<char*>(block);
    if (!pool.range || at < pool.range || at >= pool.range + pool.used) {
        std::free(block);
        return;
    }
    size_t index = pool.class_of[static_cast<size_t>(at - pool.range) / slab_size];
    auto* freed = static_cast<Free*>(block);
    freed->next = pool.free[index];
    pool.free[index] = freed;
}

} // namespace

void* operator new(size_t size) {
    void* block = allocate(size);
    if (!block) std::abort(); // nothing here can go on without memory; init starts it again
    return block;
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* block) noexcept { give_back(block); }
void operator delete[](void* block) noexcept { give_back(block); }
void operator delete(void* block, size_t) noexcept { give_back(block); }
void operator delete[](void* block, size_t) noexcept { give_back(block); }

#endif

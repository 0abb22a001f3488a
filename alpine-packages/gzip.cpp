#include "alpine-packages/gzip.h"

#include <libdeflate.h>

#include <algorithm>
#include <memory>

namespace muster::apk {

namespace {

constexpr std::size_t first_guess = 1 << 14; // signatures and control parts are smaller
constexpr std::size_t best_ratio = 1032;     // of deflate: 258 bytes by 2 bits (RFC 1951)
constexpr int level = 12;                    // the smallest

// A file ends with the size of its last member, modulo 2^32: a hint, which nobody vouches for.
std::size_t stated_size(std::string_view file) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4 && i < file.size(); ++i)
        size = size << 8 | static_cast<unsigned char>(file[file.size() - 1 - i]);
    return size;
}

} // namespace

Result<GzipMember> take_gzip(std::string_view& file, std::size_t limit) {
    std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> decompressor(
        libdeflate_alloc_decompressor(), &libdeflate_free_decompressor);
    if (!decompressor) return Error{"no memory to unpack"};
    const std::size_t most = std::min(limit, (file.size() + 1) * best_ratio);
    GzipMember member;
    for (std::size_t room = first_guess;; room = std::max(room * 4, stated_size(file))) {
        room = std::min(room, most);
        member.data.resize(room);
        std::size_t taken = 0, came = 0;
        auto result = libdeflate_gzip_decompress_ex(decompressor.get(), file.data(), file.size(),
                                                    member.data.data(), room, &taken, &came);
        if (result == LIBDEFLATE_SUCCESS) {
            member.data.resize(came);
            if (came < room / 2) member.data.shrink_to_fit(); // the hint was another member's
            member.compressed = file.substr(0, taken);
            file.remove_prefix(taken);
            return member;
        }
        if (result != LIBDEFLATE_INSUFFICIENT_SPACE) return Error{"truncated or damaged"};
        if (room == most) return Error{"more than " + std::to_string(limit) + " bytes unpacked"};
    }
}

Result<std::vector<GzipMember>> split_gzip(std::string_view file, std::size_t limit) {
    std::vector<GzipMember> members;
    while (!file.empty()) {
        auto member = take_gzip(file, limit);
        if (!member)
            return member.error().with_context("gzip member " + std::to_string(members.size() + 1));
        limit -= member->data.size();
        members.push_back(std::move(*member));
    }
    return members;
}

std::string compress_gzip(std::string_view data) {
    std::unique_ptr<libdeflate_compressor, void (*)(libdeflate_compressor*)> compressor(
        libdeflate_alloc_compressor(level), &libdeflate_free_compressor);
    if (!compressor) throw std::bad_alloc();
    std::string out(libdeflate_gzip_compress_bound(compressor.get(), data.size()), '\0');
    out.resize(libdeflate_gzip_compress(compressor.get(), data.data(), data.size(), out.data(),
                                        out.size()));
    return out;
}

} // namespace muster::apk

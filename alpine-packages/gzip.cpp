#include "alpine-packages/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <climits>
#include <memory>
#include <span>

namespace muster::apk {

namespace {

// Inflates the first member of FILE. ROOM gives the place for the next bytes, KEEP is told how many
// came. Gives the compressed bytes.
template <typename Room, typename Keep>
Result<std::string_view> inflate_member(std::string_view file, std::size_t limit, Room room,
                                        Keep keep) {
    if (file.size() > UINT_MAX) return Error{"larger than 4 GiB"};
    z_stream stream{};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) return Error{"zlib: no memory"};
    std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, &inflateEnd);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(file.data()));
    stream.avail_in = static_cast<uInt>(file.size());
    std::size_t all = 0;
    int status = Z_OK;
    while (status != Z_STREAM_END) {
        std::span<char> place = room();
        stream.next_out = reinterpret_cast<Bytef*>(place.data());
        stream.avail_out = static_cast<uInt>(place.size());
        status = inflate(&stream, Z_NO_FLUSH);
        std::size_t came = place.size() - stream.avail_out;
        keep(came);
        all += came;
        if (all > limit) return Error{"more than " + std::to_string(limit) + " bytes unpacked"};
        if (status == Z_BUF_ERROR ||
            (status == Z_OK && stream.avail_in == 0 && stream.avail_out != 0))
            return Error{"truncated"};
        if (status != Z_OK && status != Z_STREAM_END)
            return Error{stream.msg ? std::string(stream.msg) : std::string("broken")};
    }
    return file.substr(0, file.size() - stream.avail_in);
}

} // namespace

Result<GzipMember> take_gzip(std::string_view& file, std::size_t limit) {
    GzipMember member;
    std::string& data = member.data;
    std::size_t have = 0;
    auto room = [&] {
        // at least one byte beyond the limit, by which it is seen
        std::size_t more = std::clamp<std::size_t>(have, 1 << 14, 1 << 24);
        data.resize(have + std::clamp<std::size_t>(more, 1, limit + 1 - have));
        return std::span(data).subspan(have);
    };
    auto compressed =
        inflate_member(file, limit, room, [&](std::size_t came) { data.resize(have += came); });
    if (!compressed) return compressed.error();
    member.compressed = *compressed;
    file.remove_prefix(member.compressed.size());
    return member;
}

Result<std::string_view> first_gzip(std::string_view file, std::size_t limit) {
    std::vector<char> sink(1 << 16);
    return inflate_member(
        file, limit, [&] { return std::span(sink); }, [](std::size_t) {});
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

} // namespace muster::apk

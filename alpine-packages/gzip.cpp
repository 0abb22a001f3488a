#include "alpine-packages/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <climits>
#include <memory>

namespace muster::apk {

Result<GzipMember> take_gzip(std::string_view& file, std::size_t limit) {
    if (file.size() > UINT_MAX) return Error{"larger than 4 GiB"};
    z_stream stream{};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) return Error{"zlib: no memory"};
    std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, &inflateEnd);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(file.data()));
    stream.avail_in = static_cast<uInt>(file.size());
    GzipMember member;
    std::string& data = member.data;
    int status = Z_OK;
    while (status != Z_STREAM_END) {
        std::size_t have = data.size();
        data.resize(have + std::clamp<std::size_t>(have, 1 << 14, 1 << 24));
        stream.next_out = reinterpret_cast<Bytef*>(data.data() + have);
        stream.avail_out = static_cast<uInt>(data.size() - have);
        status = inflate(&stream, Z_NO_FLUSH);
        data.resize(data.size() - stream.avail_out);
        if (data.size() > limit)
            return Error{"more than " + std::to_string(limit) + " bytes unpacked"};
        if (status == Z_BUF_ERROR ||
            (status == Z_OK && stream.avail_in == 0 && stream.avail_out != 0))
            return Error{"truncated"};
        if (status != Z_OK && status != Z_STREAM_END)
            return Error{stream.msg ? std::string(stream.msg) : std::string("broken")};
    }
    member.compressed = file.substr(0, file.size() - stream.avail_in);
    file.remove_prefix(member.compressed.size());
    return member;
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

#include "alpine-packages/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <climits>
#include <memory>

namespace muster::apk {

Result<std::vector<GzipMember>> split_gzip(std::string_view file, std::size_t limit) {
    std::vector<GzipMember> members;
    std::size_t total = 0;
    z_stream stream{};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) return Error{"zlib: no memory"};
    std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, &inflateEnd);
    while (!file.empty()) {
        std::string where = "gzip member " + std::to_string(members.size() + 1);
        if (file.size() > UINT_MAX) return Error{where + ": larger than 4 GiB"};
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(file.data()));
        stream.avail_in = static_cast<uInt>(file.size());
        std::string data;
        int status = Z_OK;
        while (status != Z_STREAM_END) {
            std::size_t have = data.size();
            data.resize(have + std::clamp<std::size_t>(have, 1 << 14, 1 << 24));
            stream.next_out = reinterpret_cast<Bytef*>(data.data() + have);
            stream.avail_out = static_cast<uInt>(data.size() - have);
            status = inflate(&stream, Z_NO_FLUSH);
            data.resize(data.size() - stream.avail_out);
            if (total + data.size() > limit)
                return Error{where + ": more than " + std::to_string(limit) + " bytes unpacked"};
            if (status == Z_BUF_ERROR ||
                (status == Z_OK && stream.avail_in == 0 && stream.avail_out != 0))
                return Error{where + ": truncated"};
            if (status != Z_OK && status != Z_STREAM_END)
                return Error{where + ": " +
                             (stream.msg ? std::string(stream.msg) : std::string("broken"))};
        }
        std::size_t used = file.size() - stream.avail_in;
        total += data.size();
        members.push_back({file.substr(0, used), std::move(data)});
        file.remove_prefix(used);
        inflateReset(&stream);
    }
    return members;
}

} // namespace muster::apk

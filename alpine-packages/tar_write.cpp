#include "alpine-packages/tar_write.h"

#include <array>
#include <cstdio>

#include "alpine-packages/digest.h"

namespace muster::apk {
namespace {

constexpr std::size_t block_size = 512;
constexpr std::size_t name_size = 100; // of path and target in the header

// "SIZE key=value\n", where SIZE counts itself.
std::string record(std::string_view key, std::string_view value) {
    std::string rest = " " + std::string(key) + "=" + std::string(value) + "\n";
    std::size_t size = rest.size() + 1;
    while (std::to_string(size).size() + rest.size() != size)
        ++size;
    return std::to_string(size) + rest;
}

std::string octal(int digits, unsigned long value) {
    std::array<char, 24> text;
    std::snprintf(text.data(), text.size(), "%0*lo", digits, value);
    return text.data();
}

} // namespace

void TarWriter::block(const TarMember& member, std::string_view data) {
    std::string header(block_size, '\0');
    auto put = [&](std::size_t at, std::string_view text) {
        header.replace(at, text.size(), text);
    };
    put(0, std::string_view(member.path).substr(0, name_size));
    put(100, octal(7, member.mode));
    put(108, octal(7, 0));
    put(116, octal(7, 0));
    put(124, octal(11, data.size()));
    put(136, octal(11, static_cast<unsigned long>(mtime_)));
    put(148, "        ");
    header[156] = member.type;
    put(157, std::string_view(member.target).substr(0, name_size));
    put(257, "ustar");
    put(263, "00");
    put(265, "root");
    put(297, "root");
    put(329, octal(7, 0));
    put(337, octal(7, 0));
    unsigned long sum = 0;
    for (unsigned char c : header)
        sum += c;
    put(148, octal(6, sum));
    header[154] = '\0';
    out_ += header;
    out_ += data;
    out_.append((block_size - data.size() % block_size) % block_size, '\0');
}

void TarWriter::add(const TarMember& member) {
    std::string records;
    if (member.path.size() > name_size) records += record("path", member.path);
    if (member.target.size() > name_size) records += record("linkpath", member.target);
    if (member.sum && member.type != '5')
        records += record("APK-TOOLS.checksum.SHA1",
                          hex(sha1(member.type == '2' ? member.target : member.data)));
    if (!records.empty()) {
        std::string name = member.path.substr(member.path.rfind('/') + 1);
        block({.path = "PaxHeaders/" + name, .type = 'x'}, records);
    }
    TarMember plain = member;
    if (plain.type == '5') plain.path += '/';
    block(plain, member.type == '0' ? member.data : std::string_view());
}

std::string TarWriter::take(bool end_mark) {
    if (end_mark) out_.append(2 * block_size, '\0');
    return std::move(out_);
}

} // namespace muster::apk

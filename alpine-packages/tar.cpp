#include "alpine-packages/tar.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>

#include "alpine-packages/digest.h"

namespace muster::apk {
namespace {

constexpr std::size_t block = 512;
constexpr std::size_t longest_header = 1 << 20; // of an extended header; real ones are 60 bytes

// Extended header values that hold for the next entry.
struct Extended {
    std::optional<std::string> path, target, user, group;
    std::optional<std::int64_t> mtime, size, uid, gid;
    std::string sha1;
    std::map<std::string, std::string> attributes;
};

std::string_view text_field(std::string_view header, std::size_t at, std::size_t size) {
    std::string_view field = header.substr(at, size);
    return field.substr(0, std::min(field.find('\0'), field.size()));
}

// Octal with spaces or zeros around it, or GNU's base-256 for what is larger.
std::optional<std::int64_t> number_field(std::string_view header, std::size_t at,
                                         std::size_t size) {
    std::string_view field = header.substr(at, size);
    if (static_cast<unsigned char>(field[0]) & 0x80) {
        std::uint64_t value = static_cast<unsigned char>(field[0]) & 0x7f;
        for (char c : field.substr(1)) {
            if (value >> 54) return std::nullopt;
            value = value << 8 | static_cast<unsigned char>(c);
        }
        return static_cast<std::int64_t>(value);
    }
    while (!field.empty() && field.front() == ' ')
        field.remove_prefix(1);
    std::int64_t value = 0;
    std::size_t i = 0;
    for (; i < field.size() && field[i] >= '0' && field[i] <= '7'; ++i)
        value = value * 8 + (field[i] - '0');
    for (; i < field.size(); ++i)
        if (field[i] != '\0' && field[i] != ' ') return std::nullopt;
    return value;
}

bool sum_is_right(std::string_view header) {
    auto stated = number_field(header, 148, 8);
    std::int64_t sum = 8 * ' ';
    for (std::size_t i = 0; i < block; ++i)
        if (i < 148 || i >= 156) sum += static_cast<unsigned char>(header[i]);
    return stated && *stated == sum;
}

std::optional<std::int64_t> decimal(std::string_view text) {
    std::int64_t value = 0;
    // pax times may have a fraction, which nothing here keeps
    std::string_view whole = text.substr(0, std::min(text.find('.'), text.size()));
    auto [end, wrong] = std::from_chars(whole.data(), whole.data() + whole.size(), value);
    if (wrong != std::errc() || end != whole.data() + whole.size()) return std::nullopt;
    return value;
}

// One "keyword=value" of an extended header. False if a value it must understand is broken.
bool take_keyword(std::string_view key, std::string_view value, Extended& out) {
    if (key == "path") out.path = value;
    if (key == "linkpath") out.target = value;
    if (key == "uname") out.user = value;
    if (key == "gname") out.group = value;
    if (key == "mtime") return (out.mtime = decimal(value)).has_value();
    if (key == "size") return (out.size = decimal(value)).has_value();
    if (key == "uid") return (out.uid = decimal(value)).has_value();
    if (key == "gid") return (out.gid = decimal(value)).has_value();
    constexpr std::string_view xattr = "SCHILY.xattr.";
    if (key.starts_with(xattr)) out.attributes[std::string(key.substr(xattr.size()))] = value;
    if (key == "APK-TOOLS.checksum.SHA1") {
        auto raw = unhex(value);
        if (!raw || raw->size() != 20) return false;
        out.sha1 = *raw;
    }
    return true;
}

// Records "LENGTH KEY=VALUE\n", where LENGTH counts the whole record. False if broken.
bool take_extended(std::string_view data, Extended& out) {
    while (!data.empty()) {
        std::size_t size = 0;
        auto [end, wrong] = std::from_chars(data.data(), data.data() + data.size(), size);
        std::size_t digits = static_cast<std::size_t>(end - data.data());
        if (wrong != std::errc() || size > data.size() || size < digits + 3) return false;
        if (data[digits] != ' ' || data[size - 1] != '\n') return false;
        std::string_view record = data.substr(digits + 1, size - digits - 2);
        std::size_t equals = record.find('=');
        if (equals == std::string_view::npos) return false;
        if (!take_keyword(record.substr(0, equals), record.substr(equals + 1), out)) return false;
        data.remove_prefix(size);
    }
    return true;
}

bool all_zero(std::string_view data) {
    return std::all_of(data.begin(), data.end(), [](char c) { return c == '\0'; });
}

// For messages: control characters would let an archive write to the terminal.
std::string printable(std::string_view text) {
    std::string out;
    for (char c : text.substr(0, 200))
        out += (c >= ' ' && c != 127) ? c : '?';
    return out;
}

std::optional<FileKind> kind_of(char type) {
    if (type == '0' || type == '\0') return FileKind::file;
    if (type == '1') return FileKind::hardlink;
    if (type == '2') return FileKind::symlink;
    if (type == '5') return FileKind::folder;
    return std::nullopt;
}

std::string kind_name(char type) {
    if (type == '3') return "a character device";
    if (type == '4') return "a block device";
    if (type == '6') return "a FIFO";
    return "an entry of the unknown type '" + printable({&type, 1}) + "'";
}

// Fills ENTRY from HEADER and EXTENDED; "" or what is wrong.
std::string fill(std::string_view header, const Extended& extended, TarEntry& entry) {
    std::string name(text_field(header, 0, 100));
    // GNU's own format ("ustar ") keeps other things in the place of the prefix
    bool posix = header[262] == '\0';
    if (auto prefix = text_field(header, 345, 155); posix && !prefix.empty())
        name = std::string(prefix) + "/" + name;
    if (extended.path) name = *extended.path;
    std::string shown = printable(name);
    if (std::string why = refuse_path(name, entry.path); !why.empty()) return shown + ": " + why;
    auto kind = kind_of(header[156]);
    if (!kind) return shown + ": is " + kind_name(header[156]);
    entry.kind = *kind;
    auto mode = number_field(header, 100, 8), uid = number_field(header, 108, 8),
         gid = number_field(header, 116, 8), mtime = number_field(header, 136, 12);
    if (extended.uid) uid = extended.uid;
    if (extended.gid) gid = extended.gid;
    if (extended.mtime) mtime = extended.mtime;
    if (!mode || !uid || !gid || !mtime) return shown + ": a number in the header is broken";
    if (*mode < 0 || *uid < 0 || *gid < 0 || *uid > UINT32_MAX || *gid > UINT32_MAX)
        return shown + ": a number in the header is out of range";
    entry.mode = static_cast<std::uint32_t>(*mode & 07777);
    entry.uid = static_cast<std::uint32_t>(*uid);
    entry.gid = static_cast<std::uint32_t>(*gid);
    entry.mtime = *mtime;
    entry.user = extended.user.value_or(std::string(text_field(header, 265, 32)));
    entry.group = extended.group.value_or(std::string(text_field(header, 297, 32)));
    entry.target = extended.target.value_or(std::string(text_field(header, 157, 100)));
    entry.sha1 = extended.sha1;
    entry.attributes = extended.attributes;
    if (entry.kind == FileKind::symlink) {
        if (entry.target.empty() || entry.target.size() > 4095 ||
            entry.target.find('\0') != std::string::npos)
            return shown + ": a link without a usable target";
        if (!stays_inside(entry.path, entry.target))
            return shown + ": a link out of the root, to " + printable(entry.target);
    }
    if (entry.kind == FileKind::hardlink) {
        std::string target;
        if (std::string why = refuse_path(entry.target, target); !why.empty())
            return shown + ": a hard link to " + printable(entry.target) + ": " + why;
        entry.target = target;
    }
    return "";
}

// Names that were seen, so that no entry goes through a link or a file, or comes twice.
class Names {
  public:
    std::string refuse(const TarEntry& entry) {
        for (std::size_t slash = entry.path.find('/'); slash != std::string::npos;
             slash = entry.path.find('/', slash + 1)) {
            if (others_.count(entry.path.substr(0, slash)))
                return entry.path + ": lies below something that is no folder";
        }
        if (entry.kind == FileKind::hardlink && !files_.count(entry.target))
            return entry.path + ": a hard link to " + entry.target + ", which is no file before it";
        bool folder = entry.kind == FileKind::folder;
        if (others_.count(entry.path) || (!folder && folders_.count(entry.path)))
            return entry.path + ": is there twice";
        if (folder)
            folders_.insert(entry.path);
        else
            others_.insert(entry.path);
        if (entry.kind == FileKind::file) files_.insert(entry.path);
        for (std::size_t slash = entry.path.find('/'); slash != std::string::npos;
             slash = entry.path.find('/', slash + 1))
            folders_.insert(entry.path.substr(0, slash));
        return "";
    }

  private:
    std::set<std::string> folders_, others_, files_;
};

} // namespace

std::string refuse_path(std::string_view path, std::string& normal) {
    normal.clear();
    if (path.empty()) return "an empty name";
    if (path.front() == '/') return "an absolute name";
    if (path.size() > 4095) return "a name over 4095 bytes";
    if (path.find('\0') != std::string_view::npos) return "a name with a zero byte";
    while (!path.empty()) {
        std::size_t slash = std::min(path.find('/'), path.size());
        std::string_view part = path.substr(0, slash);
        path.remove_prefix(std::min(slash + 1, path.size()));
        if (part.empty() || part == ".") continue;
        if (part == "..") return "a name with \"..\"";
        if (part.size() > 255) return "a component over 255 bytes";
        if (!normal.empty()) normal += '/';
        normal += part;
    }
    return normal.empty() ? "names the root itself" : "";
}

bool stays_inside(std::string_view path, std::string_view target) {
    if (!target.empty() && target.front() == '/') path = "", target.remove_prefix(1);
    std::ptrdiff_t depth = std::count(path.begin(), path.end(), '/');
    while (!target.empty()) {
        std::size_t slash = std::min(target.find('/'), target.size());
        std::string_view part = target.substr(0, slash);
        target.remove_prefix(std::min(slash + 1, target.size()));
        if (part.empty() || part == ".") continue;
        depth += part == ".." ? -1 : 1;
        if (depth < 0) return false;
    }
    return true;
}

Result<std::vector<TarEntry>> read_tar(std::string_view archive, bool end_mark) {
    std::vector<TarEntry> entries;
    Names names;
    Extended extended;
    bool pending = false; // an extended header waits for its entry
    std::string_view rest = archive;
    while (!rest.empty()) {
        std::string where = "tar, byte " + std::to_string(archive.size() - rest.size());
        if (rest.size() < block) return Error{where + ": a header is cut off"};
        std::string_view header = rest.substr(0, block);
        rest.remove_prefix(block);
        if (all_zero(header)) {
            if (!end_mark) return Error{where + ": end of archive inside a package"};
            if (pending || rest.size() < block || !all_zero(rest))
                return Error{where + ": the end of the archive is broken"};
            return entries;
        }
        if (header.substr(257, 5) != "ustar") return Error{where + ": not a tar header"};
        if (!sum_is_right(header)) return Error{where + ": the header's check sum is wrong"};
        auto size = number_field(header, 124, 12);
        char type = header[156];
        bool meta = type == 'x' || type == 'g' || type == 'L' || type == 'K';
        if (!meta && extended.size) size = extended.size;
        if (!size || *size < 0) return Error{where + ": the size is broken"};
        // links and folders carry no data, whatever the size field says
        if (type == '1' || type == '2' || type == '5') size = 0;
        std::size_t bytes = static_cast<std::size_t>(*size);
        if (bytes > rest.size() || (bytes + block - 1) / block * block > rest.size())
            return Error{where + ": " + printable(text_field(header, 0, 100)) + " is cut off"};
        std::string_view data = rest.substr(0, bytes);
        rest.remove_prefix((bytes + block - 1) / block * block);
        if (meta) {
            if (bytes > longest_header) return Error{where + ": an extended header over 1 MiB"};
            if (type == 'x' && !take_extended(data, extended))
                return Error{where + ": an extended header is broken"};
            if (type == 'L') extended.path = data.substr(0, std::min(data.find('\0'), bytes));
            if (type == 'x' || type == 'L') pending = true;
            continue;
        }
        TarEntry entry;
        if (std::string why = fill(header, extended, entry); !why.empty())
            return Error{"refused " + why};
        if (std::string why = names.refuse(entry); !why.empty()) return Error{"refused " + why};
        entry.data = data;
        entries.push_back(std::move(entry));
        extended = {};
        pending = false;
    }
    if (end_mark) return Error{"tar: the end of the archive is missing"};
    if (pending) return Error{"tar: an extended header without its entry"};
    return entries;
}

} // namespace muster::apk

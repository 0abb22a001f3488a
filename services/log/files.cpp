#include "services/log/files.h"

#include <dirent.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "init/base/fnv.h"

namespace muster::logs {

namespace {

constexpr std::string_view extension = ".log";
constexpr size_t longest_name = 200;

// In the name of a file, where it may not begin with a dot.
bool plain(char c, bool first) {
    if (c == '\0' || (first && c == '.')) return false;
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::strchr("._-@+,:", c) != nullptr;
}

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool digits(std::string_view text, uint64_t& out) {
    if (text.empty() || text.size() > 9) return false;
    out = 0;
    for (char c : text) {
        if (c < '0' || c > '9') return false;
        out = out * 10 + static_cast<uint64_t>(c - '0');
    }
    return true;
}

} // namespace

Rotation with_defaults(Rotation rotation) {
    if (rotation.size_kib == 0) rotation.size_kib = 1024;
    if (rotation.age_hours == 0) rotation.age_hours = 7 * 24;
    if (rotation.number == 0) rotation.number = 4;
    return rotation;
}

std::string logged_name(std::string_view service) {
    if (service.size() * 3 <= longest_name) return std::string(service);
    constexpr size_t digest = 17;
    size_t size = 0, kept = 0; // of the file's name; of the service's, before a digest
    for (size_t i = 0; i < service.size(); ++i) {
        size += plain(service[i], i == 0) ? 1 : 3;
        const bool begins = i + 1 == service.size() || (service[i + 1] & 0xc0) != 0x80; // of UTF-8
        if (size <= longest_name - digest && begins) kept = i + 1;
    }
    std::string name(service);
    if (size <= longest_name) return name;
    char text[digest + 1];
    std::snprintf(text, sizeof text, "-%016llx", static_cast<unsigned long long>(fnv1a(service)));
    return name.replace(kept, std::string::npos, text);
}

std::string file_of(std::string_view service) {
    std::string name;
    for (char c : service) {
        if (plain(c, name.empty())) {
            name += c;
            continue;
        }
        char code[8];
        std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned char>(c));
        name += code;
    }
    if (name.empty()) name = "%";
    if (name.size() > longest_name) name.resize(longest_name); // from a ring that is not sound
    return name.append(extension);
}

std::string service_of(std::string_view file, uint32_t& number) {
    number = 0;
    size_t end = file.rfind(extension);
    if (end == std::string_view::npos || end == 0) return {};
    std::string_view after = file.substr(end + extension.size());
    uint64_t value = 0;
    if (!after.empty() && (after[0] != '.' || !digits(after.substr(1), value) || value == 0))
        return {};
    number = static_cast<uint32_t>(value);
    std::string service;
    std::string_view name = file.substr(0, end);
    for (size_t i = 0; i < name.size(); ++i) {
        if (name[i] == '%' && i + 2 < name.size() && hex(name[i + 1]) >= 0 &&
            hex(name[i + 2]) >= 0) {
            service += static_cast<char>(hex(name[i + 1]) * 16 + hex(name[i + 2]));
            i += 2;
        } else {
            service += name[i];
        }
    }
    return service;
}

std::string time_text(uint64_t time_us) {
    time_t seconds = static_cast<time_t>(time_us / 1'000'000);
    tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", parts.tm_year + 1900,
                  parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                  static_cast<unsigned>(time_us % 1'000'000));
    return text;
}

Result<uint64_t> parse_time(std::string_view text) {
    auto bad = [&] {
        return Error{std::string(text) + " is no time such as 2026-11-22T01:02:03Z"};
    };
    uint64_t year, month, day, hour, minute, second;
    if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T') ||
        text[13] != ':' || text[16] != ':' || text.back() != 'Z')
        return bad();
    if (!digits(text.substr(0, 4), year) || !digits(text.substr(5, 2), month) ||
        !digits(text.substr(8, 2), day) || !digits(text.substr(11, 2), hour) ||
        !digits(text.substr(14, 2), minute) || !digits(text.substr(17, 2), second))
        return bad();
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60)
        return bad();
    uint64_t fraction = 0;
    if (std::string_view part = text.substr(19, text.size() - 20); !part.empty()) {
        if (part[0] != '.' || part.size() > 7 || !digits(part.substr(1), fraction)) return bad();
        for (size_t i = part.size(); i < 7; ++i)
            fraction *= 10;
    }
    // Days since 1970 of a date of the Gregorian calendar; years begin in March.
    uint64_t shifted = month <= 2 ? year - 1 : year;
    uint64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    uint64_t days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + in_year - 719'468;
    return ((days * 24 + hour) * 60 + minute) * 60'000'000 + second * 1'000'000 + fraction;
}

void append_line(std::string& out, uint64_t time_us, const Source& source, std::string_view line) {
    out += time_text(time_us);
    out += ' ';
    out.append(source.stream());
    if (source.pid > 0) {
        out += '[';
        out += std::to_string(source.pid);
        out += ']';
    }
    out += ": ";
    out.append(line);
    out += '\n';
}

bool parse_line(std::string_view line, Line& out) {
    size_t space = line.find(' ');
    if (space == std::string_view::npos || space > 32) return false;
    auto time = parse_time(line.substr(0, space));
    if (!time) return false;
    std::string_view rest = line.substr(space + 1);
    size_t colon = rest.find(": ");
    if (colon == std::string_view::npos) return false;
    std::string_view stream = rest.substr(0, colon);
    out = Line{*time, 0, stream, rest.substr(colon + 2)};
    size_t bracket = stream.find('[');
    if (bracket == std::string_view::npos) return true;
    uint64_t pid = 0;
    if (stream.back() != ']' ||
        !digits(stream.substr(bracket + 1, stream.size() - bracket - 2), pid))
        return false;
    out.stream = stream.substr(0, bracket);
    out.pid = static_cast<int32_t>(pid);
    return true;
}

Result<std::vector<LogFile>> log_files(const std::string& folder) {
    DIR* directory = ::opendir(folder.c_str());
    if (!directory) return system_error(folder, errno);
    std::vector<LogFile> files;
    while (dirent* entry = ::readdir(directory)) {
        LogFile file;
        file.name = entry->d_name;
        file.service = service_of(file.name, file.number);
        if (!file.service.empty()) files.push_back(std::move(file));
    }
    ::closedir(directory);
    std::sort(files.begin(), files.end(), [](const LogFile& a, const LogFile& b) {
        if (a.service != b.service) return a.service < b.service;
        // 0, the current one, comes last.
        return a.number - 1 < b.number - 1;
    });
    return files;
}

} // namespace muster::logs

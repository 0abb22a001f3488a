#include "services/log/records.h"

namespace muster::logs {

namespace {

constexpr const char* severities[] = {"emerg",   "alert",  "crit", "err",
                                      "warning", "notice", "info", "debug"};
constexpr const char* facilities[] = {"kern",   "user",   "mail",   "daemon", "auth",     "syslog",
                                      "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
                                      "ntp",    "audit",  "alert",  "clock",  "local0",   "local1",
                                      "local2", "local3", "local4", "local5", "local6",   "local7"};

bool take_number(std::string_view& text, uint64_t& out) {
    size_t digits = 0;
    out = 0;
    while (digits < text.size() && digits < 18 && text[digits] >= '0' && text[digits] <= '9')
        out = out * 10 + static_cast<uint64_t>(text[digits++] - '0');
    text.remove_prefix(digits);
    return digits > 0;
}

bool take_char(std::string_view& text, char c) {
    if (text.empty() || text[0] != c) return false;
    text.remove_prefix(1);
    return true;
}

// "Oct 11 22:14:15 "
void skip_time(std::string_view& text) {
    if (text.size() < 16 || text[3] != ' ' || text[6] != ' ' || text[9] != ':' || text[12] != ':' ||
        text[15] != ' ')
        return;
    text.remove_prefix(16);
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\0'))
        text.remove_suffix(1);
    return text;
}

} // namespace

std::string syslog_line(std::string_view datagram) {
    std::string_view text = trimmed(datagram);
    std::string_view whole = text;
    uint64_t priority = 13; // user.notice
    uint64_t number = 0;
    if (take_char(text, '<') && take_number(text, number) && take_char(text, '>') && number < 192)
        priority = number;
    else
        text = whole;
    skip_time(text);
    std::string line = facilities[priority / 8];
    line += '.';
    line += severities[priority % 8];
    line += ' ';
    line.append(text);
    return line;
}

bool parse_kernel_message(std::string_view record, KernelMessage& out) {
    uint64_t priority = 0;
    if (!take_number(record, priority) || !take_char(record, ',') ||
        !take_number(record, out.sequence) || !take_char(record, ',') ||
        !take_number(record, out.monotonic_us))
        return false;
    out.from_kernel = priority / 8 == 0;
    size_t begin = record.find(';');
    if (begin == std::string_view::npos) return false;
    record.remove_prefix(begin + 1);
    // Lines that begin with a space are about the message, for programs.
    std::string_view text = record.substr(0, record.find("\n "));
    out.line =
        out.from_kernel || priority / 8 >= 24 ? "" : facilities[priority / 8] + std::string(".");
    out.line += severities[priority % 8];
    out.line += ' ';
    // The kernel writes what cannot be printed as \xNN, and so line feeds.
    text = trimmed(text);
    for (size_t i = 0; i < text.size(); ++i) {
        if (text.substr(i, 4) == "\\x0a") {
            out.line += '\n';
            i += 3;
        } else {
            out.line += text[i];
        }
    }
    return true;
}

} // namespace muster::logs

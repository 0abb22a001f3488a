#include "services/muster/shutdown_request.h"

#include <algorithm>
#include <cstddef>

namespace muster::command {

using What = ShutdownRequest::What;
using When = ShutdownRequest::When;

namespace {

bool all_digits(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<> parse_time(std::string_view text, ShutdownRequest& request) {
    Error wrong{std::string(text) + " is no time: now, +MINUTES or HH:MM"};
    if (text == "now") return {};
    size_t colon = text.find(':');
    if (colon == std::string_view::npos) {
        if (text.starts_with('+')) text.remove_prefix(1);
        if (!all_digits(text) || text.size() > 7) return wrong;
        request.minutes = std::stoll(std::string(text));
        request.when = request.minutes > 0 ? When::minutes : When::now;
        return {};
    }
    std::string_view hour = text.substr(0, colon);
    std::string_view minute = text.substr(colon + 1);
    if (!all_digits(hour) || !all_digits(minute) || hour.size() > 2 || minute.size() != 2)
        return wrong;
    request.hour = std::stoi(std::string(hour));
    request.minute = std::stoi(std::string(minute));
    if (request.hour > 23 || request.minute > 59) return wrong;
    request.when = When::time_of_day;
    return {};
}

Result<ShutdownRequest> parse_telinit(const std::vector<std::string>& words) {
    ShutdownRequest request;
    request.wall = false;
    std::vector<std::string> levels;
    for (size_t i = 0; i < words.size(); ++i) {
        if (words[i] == "--help" || words[i] == "-h") {
            request.what = What::help;
            return request;
        }
        if (words[i] == "-t" || words[i] == "-e")
            ++i; // and what follows it: nobody here waits that long
        else if (words[i] != "--no-wall")
            levels.push_back(words[i]);
    }
    if (levels.size() != 1 || levels[0].size() != 1)
        return Error{"which level? 0, 6, 1, 2 to 5, q or u"};
    switch (levels[0][0]) {
    case '0':
        request.what = What::poweroff;
        break;
    case '6':
        request.what = What::reboot;
        break;
    case '1':
    case 's':
    case 'S':
        request.what = What::single;
        break;
    case '2':
    case '3':
    case '4':
    case '5':
        request.what = What::full;
        break;
    case 'q':
    case 'Q':
        request.what = What::reload;
        break;
    case 'u':
    case 'U':
        request.what = What::upgrade;
        break;
    default:
        return Error{"no level " + levels[0] + ": 0, 6, 1, 2 to 5, q or u"};
    }
    return request;
}

// The letters of a word such as -hP, or its long option as one letter; 0: unknown.
std::string letters_of(const std::string& word) {
    static constexpr std::pair<const char*, char> longs[] = {
        {"--halt", 'H'},  {"--poweroff", 'P'},  {"--reboot", 'r'},
        {"--force", 'f'}, {"--no-sync", 'n'},   {"--no-wall", 'l'},
        {"--help", '?'},  {"--wtmp-only", 'w'}, {"--no-wtmp", 'd'},
    };
    if (!word.starts_with("--")) return word.substr(1);
    for (const auto& [name, letter] : longs)
        if (word == name && letter) return std::string(1, letter);
    return {};
}

} // namespace

bool is_shutdown_command(std::string_view name) {
    return name == "shutdown" || name == "halt" || name == "poweroff" || name == "reboot" ||
           name == "telinit";
}

Result<ShutdownRequest> parse_shutdown(std::string_view name,
                                       const std::vector<std::string>& words) {
    if (name == "telinit") return parse_telinit(words);
    bool timed = name == "shutdown";
    ShutdownRequest request;
    request.what = name == "reboot" ? What::reboot : name == "halt" ? What::halt : What::poweroff;
    std::vector<std::string> operands;
    bool cancel = false;
    // Options may follow the time and the message, as getopt(3) has it.
    for (size_t at = 0; at < words.size(); ++at) {
        if (words[at].size() < 2 || words[at][0] != '-') {
            operands.push_back(words[at]);
            continue;
        }
        if (words[at] == "--") {
            operands.insert(operands.end(), words.begin() + static_cast<ptrdiff_t>(at) + 1,
                            words.end());
            break;
        }
        std::string letters = letters_of(words[at]);
        if (letters.empty()) return Error{"unknown option " + words[at]};
        for (size_t i = 0; i < letters.size(); ++i) {
            // What follows -t (and -d of busybox): how long to wait between signals, which is for
            // the services themselves to say.
            auto skip_number = [&] {
                if (i + 1 < letters.size())
                    i = letters.size();
                else if (at + 1 < words.size() && all_digits(words[at + 1]))
                    ++at;
            };
            switch (letters[i]) {
            case 'h': // with halt, poweroff and reboot: something about disks
                if (timed && request.what != What::halt) request.what = What::poweroff;
                break;
            case 'P':
            case 'p':
                request.what = What::poweroff;
                break;
            case 'H':
                request.what = What::halt;
                break;
            case 'r':
                request.what = What::reboot;
                break;
            case 'k':
                request.only_wall = true;
                break;
            case 'c':
                cancel = true;
                break;
            case 'f':
                request.force = !timed; // with shutdown: no fsck
                break;
            case 'n':
                request.sync = timed;
                break;
            case 'l':
                request.wall = false;
                break;
            case 'q':
            case 'Q':
            case 'F':
            case 'a':
            case 'i':
                break;
            case 'w':
                if (!timed) request.what = What::nothing;
                break;
            case 't':
            case 'd':
                skip_number();
                break;
            case '?':
                request.what = What::help;
                return request;
            default:
                return Error{std::string("unknown option -") + letters[i]};
            }
        }
    }
    size_t at = 0;
    if (cancel) {
        if (!timed) return Error{"only shutdown takes -c"};
        request.what = What::cancel;
    } else if (timed && !operands.empty()) {
        Result<> time = parse_time(operands[at++], request);
        if (!time) return time.error();
    } else if (timed) {
        request.when = When::minutes;
        request.minutes = 1;
    } else if (!operands.empty()) {
        return Error{"unknown argument " + operands[0]};
    }
    for (; at < operands.size(); ++at)
        request.message += (request.message.empty() ? "" : " ") + operands[at];
    return request;
}

} // namespace muster::command

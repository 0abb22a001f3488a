#include "services/muster/log.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <optional>

#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/preserves/utf8.h"
#include "services/log/reader.h"
#include "services/muster/bus.h"
#include "services/muster/notation.h"
#include "services/muster/output.h"
#include "services/muster/selection.h"
#include "services/tracker/service.h"

namespace muster::command {

namespace pat = dataspace::pattern;
using logs::Entry;

namespace {

constexpr const char* usage =
    "usage: muster log [-f] [-n NUMBER] [--since TIME] [--json] [SERVICE...]\n"
    "\n"
    "  -f, --follow      go on with what is said from now on; 10 lines of before without -n\n"
    "  -n NUMBER         no more than the last lines\n"
    "  --since TIME      10m, 2h, 3d ago; 2026-11-22; \"2026-11-22 01:02:03\" (UTC)\n"
    "  --json            a JSON object a line\n"
    "  --directory PATH  log files that are somewhere else\n";

struct Options {
    logs::Query query;
    std::vector<std::string> words; // the services as they were typed
    bool follow = false;
    bool json = false;
    size_t most = SIZE_MAX;
};

[[noreturn]] void wrong(const std::string& what) {
    std::fprintf(stderr, "muster: log: %s\n", what.c_str());
    std::exit(2);
}

// A service as its lines name it.
std::string name_of(const std::string& word) {
    auto service = parse_service(word);
    if (!service) wrong("service " + word + ": " + service.error().message);
    return logs::logged_name(services::display_name(*service));
}

Options parse(int argc, char** argv) {
    Options options;
    bool only_names = false, number = false;
    for (int i = 1; i < argc; ++i) {
        std::string word = argv[i];
        auto argument = [&]() -> std::string {
            if (i + 1 >= argc) wrong(word + " needs an argument");
            return argv[++i];
        };
        if (only_names || word.empty() || word[0] != '-') {
            options.query.services.push_back(name_of(word));
            options.words.push_back(word);
        } else if (word == "--")
            only_names = true;
        else if (word == "-h" || word == "--help") {
            put(usage);
            std::exit(finish(0));
        } else if (word == "-f" || word == "--follow")
            options.follow = true;
        else if (word == "--json")
            options.json = true;
        else if (word == "--directory") {
            options.query.folder = argument();
            options.query.ring_folder.clear(); // that is of this system
        } else if (word == "--since") {
            auto since = logs::parse_since(argument(), logs::realtime_us());
            if (!since) wrong("--since: " + since.error().message);
            options.query.since_us = *since;
        } else if (word.starts_with("-n")) {
            std::string text = word == "-n" ? argument() : word.substr(2);
            char* end = nullptr;
            unsigned long value = std::strtoul(text.c_str(), &end, 10);
            if (text.empty() || *end || text[0] == '-') wrong("-n: " + text + " is no number");
            options.most = value;
            number = true;
        } else
            wrong("unknown option " + word + "; see muster log --help");
    }
    if (options.follow && !number && options.query.since_us == 0) options.most = 10;
    return options;
}

void append_json(std::string& out, std::string_view text) {
    out += '"';
    for (size_t i = 0; i < text.size();) {
        auto byte = static_cast<unsigned char>(text[i]);
        size_t length = byte < 0x80    ? 1
                        : byte >= 0xf0 ? 4
                        : byte >= 0xe0 ? 3
                        : byte >= 0xc0 ? 2
                                       : 0;
        bool sound = length > 0 && i + length <= text.size() &&
                     (length == 1 || preserves::is_utf8(text.substr(i, length)));
        if (!sound) {
            out += "\\ufffd";
            ++i;
            continue;
        }
        if (byte == '"' || byte == '\\') {
            out += '\\';
            out += text[i];
        } else if (byte < 0x20 || byte == 0x7f) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", byte);
            out += code;
        } else {
            out.append(text.substr(i, length));
        }
        i += length;
    }
    out += '"';
}

class Printer {
  public:
    explicit Printer(const Options& options)
        : json_(options.json), terminal_(::isatty(STDOUT_FILENO) == 1) {}

    void print(const Entry& entry) const {
        std::string out;
        if (json_)
            json(out, entry);
        else
            text(out, entry);
        out += '\n';
        put(out);
    }

  private:
    static void json(std::string& out, const Entry& entry) {
        out += "{\"time\":\"" + logs::time_text(entry.time_us) + "\",\"service\":";
        append_json(out, entry.service);
        out += ",\"stream\":";
        append_json(out, entry.stream);
        if (entry.pid > 0) out += ",\"pid\":" + std::to_string(entry.pid);
        out += ",\"line\":";
        append_json(out, entry.text);
        out += '}';
    }

    void text(std::string& out, const Entry& entry) const {
        bool said_of_it = entry.stream == "supervisor" || entry.service == "muster";
        const char* color = said_of_it ? "\033[33m" : entry.stream == "stderr" ? "\033[31m" : "";
        std::string time = logs::time_text(entry.time_us);
        time[10] = ' ';
        time.resize(23); // milliseconds
        if (terminal_) out += "\033[2m";
        out += time;
        if (terminal_) out += "\033[0m\033[36m";
        out += ' ' + entry.service;
        if (entry.pid > 0) out += "[" + std::to_string(entry.pid) + "]";
        if (terminal_) out += "\033[0m";
        out += ": ";
        if (terminal_) out += color;
        for (char c : entry.text) // a service must not drive the terminal
            out += terminal_ && static_cast<unsigned char>(c) < ' ' && c != '\t' ? '?' : c;
        if (terminal_ && *color) out += "\033[0m";
    }

    bool json_;
    bool terminal_;
};

using Key = std::pair<uint64_t, std::string>;

Key key_of(const Entry& entry) { return {entry.time_us, entry.service + "\n" + entry.text}; }

// The newest lines, as many as were asked for.
class Tail {
  public:
    Tail(const Printer& printer, size_t most) : printer_(printer), most_(most) {}
    void add(const Entry& entry) {
        if (most_ == SIZE_MAX) return printer_.print(entry);
        kept_.push_back(entry);
        if (kept_.size() > most_) kept_.pop_front();
    }
    void finish() {
        for (const Entry& entry : kept_)
            printer_.print(entry);
        kept_.clear();
        flush_output();
    }

  private:
    const Printer& printer_;
    size_t most_;
    std::deque<Entry> kept_;
};

int failed(const Error& error) {
    std::fprintf(stderr, "muster: log: %s\n", error.message.c_str());
    return 1;
}

Entry entry_of(View stamp, View details) {
    Entry entry;
    View service = details.get("service");
    entry.service =
        service.valid() ? logs::logged_name(services::display_name(service)) : "unknown";
    if (auto time = logs::parse_time(stamp.as_string().value_or(""))) entry.time_us = *time;
    entry.pid = static_cast<int32_t>(details.get("pid").as_int().value_or(0));
    entry.stream = details.get("stream").as_symbol().value_or("message");
    View said = details.get("line");
    if (auto text = said.as_string())
        entry.text = *text;
    else if (auto bytes = said.as_bytes())
        entry.text.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    else
        entry.text = preserves::to_text(services::without_capabilities(details));
    return entry;
}

// What was printed lately, and how often: the same line comes from the bus and from the files, and
// a service may say the same several times at once.
class Seen {
  public:
    // For how long what was printed is known.
    static constexpr uint64_t lately_us = 2'000'000;
    // How often each line came from one of these.
    using Pass = std::map<Key, size_t>;

    // From now on what is older than that by now counts as not printed.
    void begin() { floor_us_ = newest_us_ - lately_us; }
    // Whether this one, which has come once more, is to be printed; then it has been.
    bool take(Pass& pass, const Entry& entry) {
        if (entry.time_us < floor_us_) return true;
        const Key key = key_of(entry);
        auto printed = printed_.find(key);
        if (++pass[key] <= (printed == printed_.end() ? 0 : printed->second)) return false;
        note(entry);
        return true;
    }
    void note(const Entry& entry) {
        newest_us_ = std::max(newest_us_, entry.time_us);
        ++printed_[key_of(entry)];
    }
    void forget_old() {
        while (!printed_.empty() && printed_.begin()->first.first + lately_us < newest_us_)
            printed_.erase(printed_.begin());
    }
    uint64_t newest_us() const { return newest_us_; }

  private:
    std::map<Key, size_t> printed_;
    uint64_t newest_us_ = logs::realtime_us();
    uint64_t floor_us_ = 0;
};

// From `query` on, until the connection ends.
Result<> follow(Bus& bus, const logs::Query& query, size_t most, const Printer& printer,
                Seen& seen) {
    if (!bus.capability("log")) return Error{"permission denied: only root may follow"};
    bool live = false;
    std::deque<Entry> waiting;
    const auto& names = query.services;
    auto take = [&](View message) {
        Entry entry = entry_of(message.at(0), message.at(1));
        if (!names.empty() && std::find(names.begin(), names.end(), entry.service) == names.end())
            return;
        if (!live) return waiting.push_back(std::move(entry));
        printer.print(entry);
        flush_output();
        seen.note(entry);
        seen.forget_old();
    };
    // First to hear what comes, then to read what was: a line may be seen twice, and is then left
    // out.
    auto follower =
        Follower::start(bus, {"log"}, pat::record("log", {pat::discard(), pat::discard()}),
                        {.appeared = {}, .gone = {}, .message = take});
    if (auto settled = bus.settle(); !settled) return settled;
    Tail tail(printer, most);
    Seen::Pass files, bus_lines;
    seen.begin();
    auto read = logs::read_logs(query, [&](const Entry& entry) {
        if (seen.take(files, entry)) tail.add(entry);
    });
    if (!read) return read.error();
    if (auto settled = bus.settle(); !settled) return settled;
    for (const Entry& entry : waiting)
        if (seen.take(bus_lines, entry)) tail.add(entry);
    tail.finish();
    live = true;
    auto done = bus.run_until([] { return false; });
    return done ? Result<>() : done.error();
}

int follow(const char* path, const Options& options, const Printer& printer) {
    logs::Query query = options.query;
    size_t most = options.most;
    Seen seen;
    for (bool again = false;; again = true) {
        auto bus = Bus::connect(path, true, again ? Bus::replaced : 0);
        if (!bus && !bus.error().message.empty()) return failed(bus.error());
        if (!bus) continue;
        auto done = follow(**bus, query, most, printer, seen);
        if (!(*bus)->lost()) return done ? 0 : failed(done.error());
        // The second stage is started again: what was said meanwhile is in the files.
        query.since_us = seen.newest_us() - Seen::lately_us;
        most = SIZE_MAX;
    }
}

// None if the bus cannot be asked.
std::vector<Value> services_there(const char* path) {
    auto bus = Bus::connect(path);
    if (!bus) return {};
    auto known = known_services(**bus);
    return known ? *std::move(known) : std::vector<Value>();
}

// Says whose name is neither that of a service that is there nor of one that has ever written. The
// exit status.
int tell_unknown(const char* path, const Options& options, const std::set<std::string>& written) {
    const bool ours = !options.query.ring_folder.empty();
    std::optional<std::vector<Value>> known; // once it was asked for
    int status = 0;
    for (size_t i = 0; i < options.words.size(); ++i) {
        const std::string& name = options.query.services[i];
        const bool always = name == "kernel" || name == "syslog" || name == "muster";
        if (always || written.count(name) > 0) continue;
        if (!known) known = ours ? services_there(path) : std::vector<Value>();
        const Value meant = services_meant(options.words[i], *known).front();
        auto is_it = [&](const Value& each) { return each.view().at(0) == meant.view(); };
        if (std::any_of(known->begin(), known->end(), is_it)) continue;
        std::fprintf(stderr, "muster: log: nobody knows %s, and nothing is written by it\n",
                     options.words[i].c_str());
        status = 4;
    }
    return status;
}

} // namespace

int log_command(const char* bus, int argc, char** argv) {
    Options options = parse(argc, argv);
    Printer printer(options);
    if (options.follow) return follow(bus, options, printer);
    Tail tail(printer, options.most);
    auto read = logs::read_logs(options.query, [&](const Entry& entry) { tail.add(entry); });
    if (!read) return failed(read.error());
    tail.finish();
    return tell_unknown(bus, options, *read);
}

} // namespace muster::command

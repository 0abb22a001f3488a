// What a dataspace carries, against syndicate-server and against a floor: a relay that only finds
// the ends of packets and writes one fixed Turn for each. One line a figure, tab-separated: name,
// ours, peer, ratio (how many times better ours is). All servers run at the same time and are
// measured in turns; what is printed are medians of the rounds.
//
// usage: dataspace DATASPACE PEER [LINE...]; PEER is the folder with syndicate-server and its
// tools; without it ("-") its column is "-".
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <map>
#include <memory>

#include "init/protocol/load_testing.h"

namespace muster::load {
namespace {

constexpr int rounds = 5;

// --- servers ----------------------------------------------------------------------------------

// Finds the ends of packets and answers each with one Turn. The first connection consumes.
void floor_relay(Fd listener) {
    const Packet accepted = packets("[[0 <A <accepted #:[0 1]> 3>]]");
    const Packet turn = packets("[[2 <M [\"producer\" #\"\"]>]]");
    for (;;) {
        auto accept_one = [&](int packets_first) {
            auto fd = std::make_unique<Fd>(accept(listener.get(), nullptr, nullptr));
            int yes = 1;
            setsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            Packet input;
            for (int seen = 0; seen < packets_first;) {
                uint8_t buffer[65'536];
                ssize_t count = read(fd->get(), buffer, sizeof buffer);
                if (count <= 0) _exit(0);
                input.insert(input.end(), buffer, buffer + count);
                for (preserves::Scan scan = preserves::scan(input);
                     !input.empty() && scan.state == preserves::Scan::State::complete;
                     scan = preserves::scan(input)) {
                    input.erase(input.begin(), input.begin() + static_cast<ptrdiff_t>(scan.size));
                    if (seen++ == 0) (void)!write(fd->get(), accepted.data(), accepted.size());
                }
            }
            return fd;
        };
        auto consumer = accept_one(3); // resolve, observe, sync
        const Packet synced = packets("[[999 <M #t>]]");
        (void)!write(consumer->get(), synced.data(), synced.size());
        auto producer = accept_one(1);
        Packet input;
        Packet output;
        for (;;) {
            uint8_t buffer[65'536];
            ssize_t count = read(producer->get(), buffer, sizeof buffer);
            if (count <= 0) break;
            input.insert(input.end(), buffer, buffer + count);
            output.clear();
            Bytes rest(input);
            for (;;) {
                preserves::Scan scan = preserves::scan(rest);
                if (scan.state != preserves::Scan::State::complete) break;
                rest = rest.subspan(scan.size);
                output.insert(output.end(), turn.begin(), turn.end());
            }
            input.erase(input.begin(), input.end() - static_cast<ptrdiff_t>(rest.size()));
            for (size_t sent = 0; sent < output.size();) {
                ssize_t wrote = write(consumer->get(), output.data() + sent, output.size() - sent);
                if (wrote <= 0) break;
                sent += static_cast<size_t>(wrote);
            }
        }
    }
}

struct Setup {
    std::string dataspace;
    std::string peer;   // the folder of its programs; empty: none
    std::string folder; // for files of ours
    std::string peer_server() const { return peer + "/syndicate-server"; }
};

using ServerPtr = std::unique_ptr<Server>;

// Starts `program`, by way of `wrapper` if there is one, on `port` or on one that is free.
ServerPtr start(const Setup& setup, const std::string& program, const std::string& name,
                std::vector<std::string> wrapper = {}, uint16_t port = 0) {
    if (port == 0) listening(port).reset();
    std::string config = setup.folder + "/" + name + std::to_string(port) + ".pr";
    FILE* file = std::fopen(config.c_str(), "we");
    if (!file) die("cannot write " + config);
    std::fprintf(file,
                 "let ?root_ds = dataspace\n"
                 "<require-service <relay-listener <tcp \"127.0.0.1\" %d> $gatekeeper>>\n"
                 "<bind <ref {oid: \"syndicate\" key: #x\"\"}> $root_ds #f>\n",
                 port);
    std::fclose(file);
    for (const std::string& word : {program, std::string("--no-banner"), std::string("-c"), config})
        wrapper.push_back(word);
    return std::make_unique<Server>(name, port, wrapper);
}

// Ours first, then the peer, if there is one.
std::vector<ServerPtr> start_both(const Setup& setup) {
    std::vector<ServerPtr> servers;
    servers.push_back(start(setup, setup.dataspace, "ours"));
    if (!setup.peer.empty()) servers.push_back(start(setup, setup.peer_server(), "peer"));
    return servers;
}

// --- figures ----------------------------------------------------------------------------------

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

void print(const std::string& name, const char* format, double ours, double peer,
           bool more_is_better) {
    auto text = [&](double value) {
        char buffer[64];
        std::snprintf(buffer, sizeof buffer, format, value);
        return std::string(buffer);
    };
    if (peer == 0)
        std::printf("%s\t%s\t-\t-\n", name.c_str(), text(ours).c_str());
    else
        std::printf("%s\t%s\t%s\t%.2f\n", name.c_str(), text(ours).c_str(), text(peer).c_str(),
                    more_is_better ? ours / peer : peer / ours);
    std::fflush(stdout);
}

// Measures all servers in turns and gives the median for each.
std::vector<double> in_turns(const std::vector<ServerPtr>& servers,
                             const std::function<double(Server&)>& measure, int times = rounds) {
    std::vector<std::vector<double>> samples(servers.size());
    for (int round = 0; round < times; ++round)
        for (size_t i = 0; i < servers.size(); ++i)
            samples[i].push_back(measure(*servers[i]));
    std::vector<double> medians;
    for (auto& each : samples)
        medians.push_back(median(std::move(each)));
    medians.resize(2); // 0: no peer
    return medians;
}

struct Flow {
    double rate = 0; // messages or events a second
    double cpu = 0;  // seconds of the server for each
};

// Observes all of `patterns` from one connection, sends `message` from another.
Flow message_flow(Server& server, const std::vector<std::string>& patterns,
                  const std::string& message) {
    Peer consumer(server.port());
    Packet asserts;
    int handle = 2;
    std::string text = "[";
    for (const std::string& pattern : patterns)
        text += "[1 <A <Observe " + pattern + " #:[0 2]> " + std::to_string(handle++) + ">]";
    consumer.send(packets(text + "]"));
    consumer.sync();
    Peer producer(server.port());
    Packet one = packets("[[1 <M " + message + ">]]");
    Packet load = repeated(one);
    size_t turn = 0;
    uint64_t count = 0;
    auto consume = [&] {
        if (turn == 0) {
            Bytes first = consumer.take();
            if (first.empty()) return;
            turn = first.size();
            ++count;
        }
        size_t whole = consumer.available() / turn;
        consumer.drop(whole * turn);
        count += whole;
    };
    double taken = 0;
    pump(producer, load, consumer, consume, 0.2, taken);
    const double cpu = server.cpu();
    count = 0;
    pump(producer, load, consumer, consume, 1.0, taken);
    Flow flow;
    flow.rate = static_cast<double>(count) / taken;
    flow.cpu = count ? (server.cpu() - cpu) / static_cast<double>(count) : 0;
    return flow;
}

const std::string says = "<group <rec Says> {0: <bind <_>> 1: <bind <_>>}>";

void messages(const Setup& setup) {
    std::vector<ServerPtr> servers = start_both(setup);
    uint16_t port = 0;
    Fd listener = listening(port);
    servers.push_back(
        std::make_unique<Server>("floor", port, [&] { floor_relay(Fd(dup(listener.get()))); }));
    listener.reset();
    std::vector<std::vector<double>> rate(3);
    std::vector<std::vector<double>> cpu(3);
    for (int round = 0; round < rounds; ++round) {
        for (size_t i = 0; i < servers.size(); ++i) {
            Flow flow = message_flow(*servers[i], {says}, "<Says \"producer\" #\"\">");
            size_t column = i + 1 == servers.size() ? 2 : i;
            rate[column].push_back(flow.rate);
            cpu[column].push_back(flow.cpu * 1e9);
        }
    }
    bool peer = !rate[1].empty();
    print("messages", "%.0f", median(rate[0]), peer ? median(rate[1]) : 0, true);
    print("messages_cpu", "%.0f", median(cpu[0]), peer ? median(cpu[1]) : 0, false);
    print("floor", "%.0f", median(rate[0]), median(rate[2]), true);
    print("floor_cpu", "%.0f", median(cpu[0]), median(cpu[2]), false);
}

// 100 patterns on <Event f0 … f6>, each with constants at other places; the last one matches.
std::vector<std::string> different_shapes() {
    std::vector<std::string> patterns;
    for (int mask = 1; mask < 100; ++mask) {
        std::string pattern = "<group <rec Event> {";
        for (int field = 0; field < 7; ++field)
            pattern += std::to_string(field) + ": " +
                       (mask >> field & 1 ? "<lit other" + std::to_string(mask) + "> " : "<_> ");
        patterns.push_back(pattern + "}>");
    }
    patterns.push_back("<group <rec Event> {0: <bind <_>> 6: <lit g>}>");
    return patterns;
}

void selective(const Setup& setup) {
    auto servers = start_both(setup);
    auto patterns = different_shapes();
    auto rates = in_turns(servers, [&](Server& server) {
        return message_flow(server, patterns, "<Event a b c d e f g>").rate;
    });
    print("selective", "%.0f", rates[0], rates[1], true);
}

void selective_same(const Setup& setup) {
    auto servers = start_both(setup);
    std::vector<std::string> patterns;
    for (int i = 0; i < 100; ++i)
        patterns.push_back("<group <rec Says> {0: <lit \"user" + std::to_string(i) +
                           "\"> 1: <bind <_>>}>");
    auto rates = in_turns(servers, [&](Server& server) {
        return message_flow(server, patterns, "<Says \"user50\" \"hello\">").rate;
    });
    print("selective_same", "%.0f", rates[0], rates[1], true);
}

// `<Present PID>` asserted in one Turn and retracted in the next, watched by another connection.
Flow assertion_flow(Server& server, int unrelated_label, int unrelated_constant, int matching) {
    Peer crowd(server.port());
    int handle = 2;
    std::string text;
    auto observe = [&](const std::string& pattern) {
        text += "[1 <A <Observe " + pattern + " #:[0 " + std::to_string(handle + 10) + "]> " +
                std::to_string(handle) + ">]";
        if (++handle % 500 == 0) crowd.send(packets("[" + std::exchange(text, "") + "]"));
    };
    for (int i = 0; i < unrelated_label; ++i)
        observe("<group <rec Label" + std::to_string(i) + "> {0: <bind <_>>}>");
    for (int i = 0; i < unrelated_constant; ++i)
        observe("<group <rec Present> {0: <lit -" + std::to_string(i + 1) + ">}>");
    for (int i = 1; i < matching; ++i)
        observe("<group <rec Present> {0: <bind <_>>}>");
    crowd.send(packets("[" + text + "]"));
    crowd.sync();
    Peer consumer(server.port());
    consumer.send(packets("[[1 <A <Observe <group <rec Present> {0: <bind <_>>}> #:[0 2]> 2>]]"));
    consumer.sync();
    Peer producer(server.port());
    Packet load;
    for (int i = 0; i < 1000; ++i) {
        std::string own = std::to_string(3 + 10 * i);
        Packet two = packets("[[1 <A <Present 4711> " + own + ">]] [[1 <R " + own + ">]]");
        load.insert(load.end(), two.begin(), two.end());
    }
    uint64_t count = 0;
    auto consume = [&] {
        while (!consumer.take().empty())
            ++count;
    };
    // The crowd's answers are read, so that nothing is held back.
    Fd crowd_fd(dup(crowd.fd()));
    pid_t reader = matching > 1 ? fork() : -1;
    if (reader == 0) {
        static uint8_t buffer[262'144];
        while (read(crowd_fd.get(), buffer, sizeof buffer) > 0) {
        }
        _exit(0);
    }
    double taken = 0;
    pump(producer, load, consumer, consume, 0.2, taken);
    const double cpu = server.cpu();
    count = 0;
    pump(producer, load, consumer, consume, 1.0, taken);
    Flow flow;
    flow.rate = static_cast<double>(count) / taken;
    flow.cpu = count ? (server.cpu() - cpu) / static_cast<double>(count) : 0;
    if (reader > 0) {
        kill(reader, SIGKILL);
        waitpid(reader, nullptr, 0);
    }
    return flow;
}

void assertions(const Setup& setup) {
    auto servers = start_both(setup);
    auto rates =
        in_turns(servers, [&](Server& server) { return assertion_flow(server, 0, 0, 1).rate; });
    print("assertions", "%.0f", rates[0], rates[1], true);
}

// Round trips in microseconds: a ping to one connection, its pong back to the other.
void round_trips(Server& server, int count, std::vector<double>& samples) {
    Peer a(server.port());
    Peer b(server.port());
    a.send(packets("[[1 <A <Observe <group <rec Pong> {0: <bind <_>>}> #:[0 2]> 2>]]"));
    b.send(packets("[[1 <A <Observe <group <rec Ping> {0: <bind <_>>}> #:[0 2]> 2>]]"));
    a.sync();
    b.sync();
    const Packet ping = packets("[[1 <M <Ping 1234567890>>]]");
    const Packet pong = packets("[[1 <M <Pong 1234567890>>]]");
    for (int i = 0; i < count; ++i) {
        const uint64_t start = monotonic_now();
        a.send(ping);
        b.next(Peer::Wait::awake);
        b.send(pong);
        a.next(Peer::Wait::awake);
        samples.push_back(1e-3 * static_cast<double>(monotonic_now() - start));
    }
}

double percentile(std::vector<double> samples, double share) {
    std::sort(samples.begin(), samples.end());
    return samples[static_cast<size_t>(share * static_cast<double>(samples.size() - 1))];
}

void rtt(const Setup& setup) {
    auto servers = start_both(setup);
    std::vector<std::vector<double>> samples(2);
    for (int round = 0; round < 10; ++round)
        for (size_t i = 0; i < servers.size(); ++i)
            round_trips(*servers[i], 10'000, samples[i]);
    bool peer = !samples[1].empty();
    print("rtt_p50", "%.1f", percentile(samples[0], 0.5), peer ? percentile(samples[1], 0.5) : 0,
          false);
    print("rtt_p999", "%.1f", percentile(samples[0], 0.999),
          peer ? percentile(samples[1], 0.999) : 0, false);
}

void rss(const Setup& setup) {
    auto idle = start_both(setup);
    auto values = in_turns(
        idle, [](Server& server) { return server.rss(); }, 1);
    print("rss_idle", "%.0f", values[0], values[1], false);

    auto holding = start_both(setup);
    values = in_turns(
        holding,
        [](Server& server) {
            Peer peer(server.port());
            std::string text;
            for (int i = 0; i < 100'000; ++i) {
                text += "[1 <A <Present " + std::to_string(i) + "> " + std::to_string(3 + 10 * i) +
                        ">]";
                if (i % 100 == 99) peer.send(packets("[" + std::exchange(text, "") + "]"));
            }
            peer.sync();
            return server.rss();
        },
        1);
    print("rss_100k", "%.0f", values[0], values[1], false);

    auto crowded = start_both(setup);
    values = in_turns(
        crowded,
        [](Server& server) {
            std::vector<std::unique_ptr<Peer>> peers;
            for (int i = 0; i < 1000; ++i)
                peers.push_back(std::make_unique<Peer>(server.port()));
            for (auto& peer : peers)
                peer->sync();
            return server.rss();
        },
        1);
    print("rss_1000conn", "%.0f", values[0], values[1], false);
}

// How the cost of an event grows with the number of observers: ratios of CPU time, beside the mark.
void growth(const Setup& setup) {
    auto cost = [&](int label, int constant, int matching) {
        ServerPtr server = start(setup, setup.dataspace, "ours");
        std::vector<double> samples;
        for (int i = 0; i < 3; ++i)
            samples.push_back(assertion_flow(*server, label, constant, matching).cpu);
        return median(samples);
    };
    const double few = cost(10, 0, 1);
    print("growth_label_1000", "%.2f", cost(1'000, 0, 1) / few, 1.5, false);
    print("growth_label_100000", "%.2f", cost(100'000, 0, 1) / few, 1.5, false);
    const double few_same = cost(0, 10, 1);
    print("growth_constant_1000", "%.2f", cost(0, 1'000, 1) / few_same, 1.5, false);
    print("growth_constant_100000", "%.2f", cost(0, 100'000, 1) / few_same, 1.5, false);
    // Linear: the cost for each of 1,000 observers is no more than that for each of 100.
    print("growth_matching_1000", "%.2f", cost(0, 0, 1'000) / 10 / cost(0, 0, 100), 1.5, false);
}

// The longest round trip, in milliseconds, while a connection with 100,000 assertions goes.
void goodbye(const Setup& setup) {
    auto servers = start_both(setup);
    auto values = in_turns(
        servers,
        [](Server& server) {
            Peer watcher(server.port());
            watcher.send(packets("[[1 <A <Observe <group <rec Present> {0: <_>}> #:[0 2]> 2>]]"));
            watcher.sync();
            auto leaving = std::make_unique<Peer>(server.port());
            std::string text;
            for (int i = 0; i < 100'000; ++i) {
                text += "[1 <A <Present " + std::to_string(i) + "> " + std::to_string(3 + 10 * i) +
                        ">]";
                if (i % 100 == 99) leaving->send(packets("[" + std::exchange(text, "") + "]"));
            }
            leaving->sync();
            Peer a(server.port());
            a.sync();
            leaving.reset();
            // Until the watcher has seen the last one go, or for a while.
            double longest = 0;
            const double start = seconds();
            while (seconds() - start < 0.5) {
                const double before = seconds();
                a.sync();
                longest = std::max(longest, seconds() - before);
            }
            return longest * 1e3;
        },
        3);
    print("goodbye_100k", "%.1f", values[0], 50, false);
    if (values[1] != 0) std::fprintf(stderr, "goodbye_100k: the peer took %.1f ms\n", values[1]);
}

// Instructions for each routed message, counted by valgrind in a run with few messages and one with
// many. There is no peer: the figure is held by instructions_test.sh.
void instructions(const Setup& setup) {
    auto total = [&](uint64_t count) {
        const std::string counts = setup.folder + "/counts";
        ServerPtr server =
            start(setup, setup.dataspace, "ours",
                  {"/usr/bin/valgrind", "--tool=callgrind", "--callgrind-out-file=" + counts});
        {
            Peer consumer(server->port());
            consumer.send(packets("[[1 <A <Observe " + says + " #:[0 2]> 2>]]"));
            consumer.sync();
            Peer producer(server->port());
            const Packet one = packets("[[1 <M <Says \"producer\" #\"\">>]]");
            // In portions, so that nobody waits for anybody who waits.
            for (uint64_t sent = 0; sent < count; sent += 500) {
                producer.send(repeated(one, one.size() * 500));
                for (int i = 0; i < 500; ++i)
                    consumer.next();
            }
        }
        server->end();
        FILE* file = std::fopen(counts.c_str(), "re");
        if (!file) die("valgrind wrote no counts");
        char line[4096];
        unsigned long long sum = 0;
        while (std::fgets(line, sizeof line, file))
            if (std::sscanf(line, "summary: %llu", &sum) == 1) break;
        std::fclose(file);
        return sum;
    };
    const auto few = total(1'000);
    print("instructions", "%.0f", static_cast<double>(total(21'000) - few) / 20'000, 0, false);
}

// What the tools of the peer's crate say, each with a server of its own in a network namespace,
// since they know but one port.
double tool(const Setup& setup, const std::string& program, const std::string& script,
            const char* format) {
    const std::string output = setup.folder + "/tool";
    const pid_t child = fork();
    if (child == 0) {
        Fd any(socket(AF_INET, SOCK_DGRAM, 0));
        if (unshare(CLONE_NEWNET) != 0) _exit(1);
        Fd inside(socket(AF_INET, SOCK_DGRAM, 0));
        ifreq loopback{};
        std::strcpy(loopback.ifr_name, "lo");
        loopback.ifr_flags = IFF_UP | IFF_RUNNING;
        if (ioctl(inside.get(), SIOCSIFFLAGS, &loopback) != 0) _exit(1);
        ServerPtr server = start(setup, program, "tool", {}, 9001);
        const std::string command =
            "cd " + setup.peer + " && { " + script + "; } >" + output + " 2>&1";
        const int status = std::system(command.c_str());
        server.reset();
        _exit(status == 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    std::vector<double> values;
    FILE* file = std::fopen(output.c_str(), "re");
    char line[512];
    double value = 0;
    while (file && std::fgets(line, sizeof line, file))
        if (const char* at = std::strstr(line, format);
            at && std::sscanf(at + std::strlen(format), "%lf", &value) == 1)
            values.push_back(value);
    if (file) std::fclose(file);
    unlink(output.c_str());
    return values.empty() ? 0 : median(values);
}

void tools(const Setup& setup) {
    if (setup.peer.empty() || access((setup.peer + "/dirty-producer").c_str(), X_OK) != 0) return;
    auto both = [&](const std::string& name, const std::string& script, const char* format,
                    const char* shown, bool more_is_better) {
        const double ours = tool(setup, setup.dataspace, script, format);
        const double peer = tool(setup, setup.peer_server(), script, format);
        if (ours == 0 || peer == 0)
            std::fprintf(stderr, "bench: %s said nothing (it needs a network namespace)\n",
                         name.c_str());
        else
            print(name, shown, ours, peer, more_is_better);
    };
    both("tool_dirty",
         "./dirty-consumer & c=$!; ./dirty-producer & p=$!; sleep 5; kill $c $p; wait", "second (",
         "%.0f", true);
    both("tool_pingpong_p50",
         "./pingpong pong & c=$!; ./pingpong ping -l 100 & p=$!; sleep 5; kill $c $p; wait",
         "ms, 50% ", "%.4f", false);
}

struct Line {
    const char* name;
    void (*run)(const Setup&);
};
constexpr Line lines[] = {{"messages", messages},
                          {"selective", selective},
                          {"selective_same", selective_same},
                          {"assertions", assertions},
                          {"rtt", rtt},
                          {"rss", rss},
                          {"growth", growth},
                          {"goodbye", goodbye},
                          {"tools", tools},
                          {"instructions", instructions}};

} // namespace
} // namespace muster::load

int main(int argc, char** argv) {
    using namespace muster::load;
    if (argc < 3) die("usage: dataspace DATASPACE PEER|- [LINE...]");
    signal(SIGPIPE, SIG_IGN);
    rlimit files{8192, 8192};
    setrlimit(RLIMIT_NOFILE, &files);
    char folder[] = "/tmp/bench-dataspace.XXXXXX";
    if (!mkdtemp(folder)) die("cannot make a folder in /tmp");
    Setup setup{argv[1], std::string(argv[2]) == "-" ? "" : argv[2], folder};
    for (const Line& line : lines) {
        bool wanted = argc == 3;
        for (int i = 3; i < argc; ++i)
            wanted = wanted || line.name == std::string(argv[i]);
        if (wanted) line.run(setup);
    }
    std::string command = std::string("rm -r ") + folder;
    return std::system(command.c_str()) == 0 ? 0 : 1;
}

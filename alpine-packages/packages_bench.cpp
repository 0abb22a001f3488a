// Figures beside the real apk, which is run from its own package. One line each, tab-separated:
// name, ours, peer, ratio. Milliseconds, medians of RUNS (7) rounds in which both take turns.
//
//   base_set    a base system solved, verified, unpacked and set up in a new root
//   full_index  both complete indexes verified and loaded, and one package solved
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>

#include "alpine-packages/files.h"

using namespace muster;
using namespace muster::apk;

namespace {

using Words = std::vector<std::string>;
using Command = std::function<Words(const std::string& folder)>;

Words operator+(Words a, const Words& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

double run(const Words& words) {
    auto begin = std::chrono::steady_clock::now();
    auto status = run_program(words);
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (status && *status == 0) return took.count();
    std::string command;
    for (const std::string& word : words)
        command += word + " ";
    std::fprintf(stderr, "bench-packages: this failed: %s\n", command.c_str());
    std::exit(1);
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

class Bench {
  public:
    Bench(std::string alpine, std::string work)
        : alpine_(std::move(alpine)), work_(std::move(work)) {
        const char* runs = std::getenv("RUNS");
        if (runs && std::atoi(runs) > 0) runs_ = std::atoi(runs);
        std::string tools = work_ + "/apk";
        run({"build/host/apk_image", "unpack", "--mirror", alpine_ + "/v3.19/main", "--keys",
             alpine_ + "/keys", "--tree", tools, "musl", "apk-tools", "libcrypto3", "libssl3",
             "zlib"});
        apk_ = {tools + "/lib/ld-musl-x86_64.so.1",
                "--library-path",
                tools + "/lib:" + tools + "/usr/lib",
                tools + "/sbin/apk",
                "--arch",
                "x86_64",
                "--keys-dir",
                alpine_ + "/keys",
                "--no-network",
                "--no-cache"};
    }

    void base_set() {
        const Words names = {"alpine-base", "e2fsprogs", "sfdisk"};
        const std::string main = alpine_ + "/v3.19/main";
        report(
            "base_set",
            [&](const std::string& root) {
                return Words{"build/host/apk_image", "install", "--mirror", main, "--keys",
                             alpine_ + "/keys",      "--tree",  root} +
                       names;
            },
            [&](const std::string& root) {
                return apk_ + Words{"--root", root, "-X", main, "--initdb", "add"} + names;
            });
    }

    void full_index() {
        const std::string full = alpine_ + "/full-index", root = work_ + "/empty";
        run(apk_ + Words{"--root", root, "--initdb", "add"});
        report(
            "full_index",
            [&](const std::string&) {
                return Words{"build/host/apk_image", "closure", "--mirror", full, "--keys",
                             alpine_ + "/keys",      "nginx"};
            },
            [&](const std::string&) {
                return apk_ + Words{"--root",       root,         "-X",
                                    full + "/main", "-X",         full + "/community",
                                    "add",          "--simulate", "nginx"};
            });
    }

  private:
    // Each run gets a folder. What it makes there stays until the end: ext4 walks around inodes
    // that were freed a moment ago, one by one, which would be most of the time.
    void report(const char* name, const Command& ours, const Command& peer) {
        std::vector<double> left, right;
        for (int i = 0; i < runs_; ++i) {
            left.push_back(run(ours(work_ + "/ours-" + std::to_string(i))));
            right.push_back(run(peer(work_ + "/peer-" + std::to_string(i))));
        }
        std::printf("%s\t%.0f\t%.0f\t%.2f\n", name, median(left), median(right),
                    median(right) / median(left));
        std::fflush(stdout);
    }

    std::string alpine_, work_;
    Words apk_;
    int runs_ = 7;
};

} // namespace

int main() {
    const char* shared = std::getenv("MUSTER_SHARED");
    std::string alpine = std::string(shared ? shared : "../shared") + "/alpine";
    if (!exists(alpine + "/full-index")) {
        std::fprintf(stderr, "bench-packages: no Alpine packages in %s\n", alpine.c_str());
        return 0;
    }
    std::string work = (std::filesystem::temp_directory_path() / "muster-XXXXXX").string();
    if (!mkdtemp(work.data())) return 1;
    {
        Bench bench(std::filesystem::absolute(alpine).string(), work);
        bench.base_set();
        bench.full_index();
    }
    std::filesystem::remove_all(work);
    return 0;
}

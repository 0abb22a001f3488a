// replay NAME MUTATIONS [FOLDER]: runs a fuzzer without libFuzzer, the same way each time: every
// input in FOLDER, then so many that differ from one of them in a few places. Prints one line,
// `ok fuzz NAME: N inputs`. What breaks it is kept in build/fuzz/NAME_crash.
#include <dirent.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

// What is being run, for whoever reports the end.
struct {
    std::string name;
    Input input;
} now;

void keep_input() {
    std::string path = "build/fuzz/" + now.name + "_crash";
    if (std::FILE* file = std::fopen(path.c_str(), "wb")) {
        std::fwrite(now.input.data(), 1, now.input.size(), file);
        std::fclose(file);
    }
    std::printf("not ok fuzz %s: see %s\n", now.name.c_str(), path.c_str());
    std::fflush(stdout);
}

void run(const Input& input) {
    now.input = input;
    // An exact copy on the heap, so that reading beyond it is seen.
    Input copy(input);
    copy.shrink_to_fit();
    LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

Input read_file(const std::string& path) {
    Input bytes;
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return bytes;
    std::uint8_t buffer[4096];
    for (std::size_t count; (count = std::fread(buffer, 1, sizeof buffer, file)) > 0;)
        bytes.insert(bytes.end(), buffer, buffer + count);
    std::fclose(file);
    return bytes;
}

std::vector<Input> read_folder(const char* folder) {
    std::vector<std::string> names;
    if (DIR* listing = opendir(folder)) {
        while (const dirent* entry = readdir(listing)) {
            if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
        }
        closedir(listing);
    }
    std::sort(names.begin(), names.end());
    std::vector<Input> inputs;
    for (const std::string& name : names)
        inputs.push_back(read_file(folder + ("/" + name)));
    return inputs;
}

void mutate(Input& bytes, const std::vector<Input>& others, std::mt19937& random) {
    auto below = [&](std::size_t limit) { return limit ? random() % limit : 0; };
    auto at = [&](std::size_t offset) {
        return bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    };
    std::size_t from = below(bytes.size()), to = from + below(std::min(bytes.size() - from, 16ul));
    switch (bytes.empty() ? 5 : below(7)) {
    case 0:
        bytes[from] ^= static_cast<std::uint8_t>(1u << below(8));
        break;
    case 1:
        bytes[from] = static_cast<std::uint8_t>(random());
        break;
    case 2:
        bytes.erase(at(from), at(to));
        break;
    case 3: {
        Input part(at(from), at(to));
        bytes.insert(at(below(bytes.size())), part.begin(), part.end());
        break;
    }
    case 4:
        if (below(8) == 0) bytes.resize(from);
        break;
    case 5:
        bytes.insert(at(from), static_cast<std::uint8_t>(random()));
        break;
    default: { // crosses over
        const Input& other = others[below(others.size())];
        auto start = static_cast<std::ptrdiff_t>(below(other.size()));
        auto length = static_cast<std::ptrdiff_t>(below(64));
        auto rest = static_cast<std::ptrdiff_t>(other.size()) - start;
        bytes.insert(at(from), other.begin() + start,
                     other.begin() + start + std::min(rest, length));
    }
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fputs("usage: replay NAME MUTATIONS [FOLDER]\n", stderr);
        return 2;
    }
    now.name = argv[1];
    __sanitizer_set_death_callback(keep_input);
    std::signal(SIGABRT, [](int) {
        keep_input();
        std::_Exit(1);
    });
    std::vector<Input> inputs = read_folder(argc > 3 ? argv[3] : "");
    for (const Input& input : inputs)
        run(input);
    if (inputs.empty()) inputs.emplace_back();
    std::mt19937 random(1);
    int mutations = std::atoi(argv[2]);
    for (int i = 0; i < mutations; ++i) {
        Input input = inputs[random() % inputs.size()];
        for (std::size_t changes = 1 + random() % 4; changes > 0; --changes)
            mutate(input, inputs, random);
        run(input);
    }
    // Only then are leaks looked for; they have no input of their own.
    if (__lsan_do_recoverable_leak_check() != 0) {
        std::printf("not ok fuzz %s: leaks, see above\n", argv[1]);
        std::fflush(stdout);
        std::_Exit(1);
    }
    std::printf("ok fuzz %s: %zu inputs\n", argv[1],
                inputs.size() + static_cast<std::size_t>(mutations));
    return 0;
}

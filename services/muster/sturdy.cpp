#include "services/muster/sturdy.h"

#include <fcntl.h>
#include <getopt.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <vector>

#include "init/base/fd.h"
#include "init/base/files.h"
#include "init/dataspace/caveat.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/sturdyref.h"
#include "services/muster/notation.h"

namespace muster::command {

using preserves::Bytes;

namespace {

constexpr size_t max_file = 1024 * 1024;

Result<std::string> read_file(const std::string& path) {
    Fd file;
    if (path != "-") {
        file = Fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!file) return system_error(path, errno);
    }
    std::string all;
    if (!read_to_end(file ? file.get() : STDIN_FILENO, all, max_file))
        return system_error(path, errno);
    if (all.size() > max_file) return Error{path + ": too large"};
    return all;
}

// White space is nothing. What was wrong is not repeated: it is a key.
Result<std::string> from_hex(std::string_view text) {
    std::string bytes;
    std::string pair;
    for (char c : text) {
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r') continue;
        if (!isxdigit(static_cast<unsigned char>(c))) return Error{"the key is not hexadecimal"};
        pair += c;
        if (pair.size() < 2) continue;
        bytes += static_cast<char>(std::strtol(pair.c_str(), nullptr, 16));
        pair.clear();
    }
    if (!pair.empty()) return Error{"the key has an odd number of digits"};
    return bytes;
}

Result<std::string> key_of(int option, const std::string& argument) {
    bool phrase = option == 'p' || option == 'P';
    bool file = option == 'P' || option == 'K';
    std::string text = argument;
    if (file) {
        Result<std::string> content = read_file(argument);
        if (!content) return content;
        text = *std::move(content);
    }
    if (!phrase) return from_hex(text);
    if (file && !text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

Result<Value> caveats_of(const std::vector<std::string>& texts) {
    preserves::Encoder list;
    list.begin_sequence();
    for (const std::string& text : texts) {
        Result<Value> caveat = parse_value(text);
        if (!caveat) return caveat.error().with_context("caveat " + text);
        auto alone = dataspace::Caveats::parse(preserves::sequence({*caveat}));
        if (!alone) return alone.error().with_context(text);
        // Allowed, but nobody means it.
        if ((*alone)->reject_everything())
            return Error{"caveat " + text + ": none that is known, it would reject everything"};
        list.value(*caveat);
    }
    list.end();
    return list.finish();
}

std::string line_of(const Value& value) { return preserves::to_text(value) + "\n"; }

} // namespace

Result<std::string> sturdy_command(int argc, char** argv) {
    bool minting = std::string_view(argv[0]) == "mint";
    const option mint_options[] = {{"oid", required_argument, nullptr, 'o'},
                                   {"phrase", required_argument, nullptr, 'p'},
                                   {"phrase-file", required_argument, nullptr, 'P'},
                                   {"key", required_argument, nullptr, 'k'},
                                   {"key-file", required_argument, nullptr, 'K'},
                                   {"caveat", required_argument, nullptr, 'c'},
                                   {"help", no_argument, nullptr, 'h'},
                                   {nullptr, 0, nullptr, 0}};
    std::optional<std::string> oid;
    std::optional<std::string> key;
    std::vector<std::string> caveat_texts;
    optind = 0; // starts over
    opterr = 0;
    for (;;) {
        int found =
            getopt_long(argc, argv, ":h", minting ? mint_options : mint_options + 5, nullptr);
        if (found < 0) break;
        switch (found) {
        case 'h':
            return std::string(mint_usage);
        case 'o':
            oid = optarg;
            break;
        case 'c':
            caveat_texts.emplace_back(optarg);
            break;
        case ':':
            return Error{std::string(argv[optind - 1]) + " needs an argument"};
        case '?':
            return Error{"unknown option " + std::string(argv[optind - 1])};
        default: {
            if (key) return Error{"one key is enough"};
            Result<std::string> given = key_of(found, optarg);
            if (!given) return given.error();
            key = *std::move(given);
        }
        }
    }
    Result<Value> caveats = caveats_of(caveat_texts);
    if (!caveats) return caveats.error();
    Value root;
    if (minting) {
        if (optind < argc) return Error{"what is " + std::string(argv[optind]) + "?"};
        if (!oid) return Error{"mint needs --oid"};
        if (!key) return Error{"mint needs a key: --phrase-file, --key-file, --phrase or --key"};
        Result<Value> value = parse_value(*oid);
        if (!value) return value.error().with_context("oid " + *oid);
        Result<Value> minted = protocol::mint(
            *value, Bytes(reinterpret_cast<const uint8_t*>(key->data()), key->size()));
        if (!minted) return minted.error();
        root = *minted;
    } else {
        if (argc - optind != 1) return Error{"attenuate takes one sturdyref"};
        std::string text = argv[optind];
        if (text == "-") {
            Result<std::string> read = read_file("-");
            if (!read) return read.error();
            text = *std::move(read);
        }
        Result<Value> value = parse_value(text);
        if (!value) return value.error().with_context("sturdyref");
        root = *value;
    }
    Result<Value> narrowed = protocol::attenuate(root, *caveats);
    if (!narrowed) return narrowed.error();
    return line_of(*narrowed);
}

namespace {

Result<Value> parse_transport(const std::string& word) {
    if (word.starts_with('/')) return preserves::record("unix", {preserves::string(word)});
    size_t colon = word.rfind(':');
    if (!word.starts_with('<') && colon != std::string::npos) {
        std::string host = word.substr(0, colon);
        if (host.size() > 2 && host.front() == '[' && host.back() == ']')
            host = host.substr(1, host.size() - 2);
        char* end = nullptr;
        long port = std::strtol(word.c_str() + colon + 1, &end, 10);
        if (*end || colon + 1 == word.size()) return Error{word + ": not a port"};
        return preserves::record("tcp", {preserves::string(host), preserves::integer(port)});
    }
    return parse_value(word);
}

} // namespace

Result<Value> parse_route(const std::string& word, const std::vector<std::string>& at) {
    std::string text = word;
    if (word == "-") {
        Result<std::string> read = read_file("-");
        if (!read) return read.error();
        text = *std::move(read);
    }
    Result<Value> value = parse_value(text);
    if (!value) return value.error();
    bool whole = value->view().is_record("route");
    if (whole && !value->view().at(0).is(preserves::Kind::sequence))
        return Error{"expected <route [TRANSPORT ...] STEP ...>"};
    if (!whole && !value->view().label().as_symbol())
        return Error{
            "expected <ref {oid: VALUE sig: SIGNATURE}> or <route [TRANSPORT ...] STEP ...>"};
    preserves::Encoder route;
    route.begin_record();
    route.symbol("route");
    if (whole && at.empty()) {
        route.value(value->view().at(0));
    } else {
        route.begin_sequence();
        for (const std::string& each : at) {
            Result<Value> transport = parse_transport(each);
            if (!transport) return transport.error().with_context("--at " + each);
            route.value(*transport);
        }
        route.end();
    }
    for (size_t i = whole ? 1 : 0; i < (whole ? value->view().count() : 1); ++i)
        route.value(whole ? value->view().at(i) : value->view());
    route.end();
    return route.finish();
}

} // namespace muster::command

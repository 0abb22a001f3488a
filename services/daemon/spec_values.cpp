#include "services/daemon/spec_values.h"

#include <cmath>

#include "init/base/byte_size.h"
#include "init/preserves/text_writer.h"
#include "init/preserves/utf8.h"

namespace muster::services {

using preserves::Kind;

namespace {

constexpr double longest_time = 86'400; // seconds

} // namespace

bool SpecReader::fail(View part, std::string message) {
    problems.push_back({part, std::move(message)});
    return false;
}

bool SpecReader::wrong(std::string_view field, View part, std::string_view expected) {
    std::string text = preserves::to_text(part);
    if (text.size() > 80) text = std::string(preserves::utf8_head(text, 77)) + "…";
    return fail(part, std::string(field) + ": " + text + " is not " + std::string(expected));
}

bool SpecReader::unknown(std::string_view field, View key) {
    return fail(key, std::string(field) + ": unknown field " + preserves::to_text(key));
}

bool SpecReader::text(std::string_view field, View value, std::string& out) {
    auto text = value.as_text();
    if (!text) return wrong(field, value, "a string");
    // What the kernel takes as the end of a string cannot be in one.
    if (text->find('\0') != std::string_view::npos)
        return fail(value, std::string(field) + ": a string with a NUL in it");
    out = *text;
    return true;
}

bool SpecReader::path(std::string_view field, View value, std::string& out) {
    if (!text(field, value, out)) return false;
    return !out.empty() || wrong(field, value, "a path");
}

bool SpecReader::boolean(std::string_view field, View value, bool& out) {
    auto truth = value.as_bool();
    if (!truth) return wrong(field, value, "#t or #f");
    out = *truth;
    return true;
}

bool SpecReader::integer(std::string_view field, View value, int64_t least, int64_t most,
                         int64_t& out) {
    auto number = value.as_int();
    if (!number || *number < least || *number > most)
        return wrong(field, value,
                     "a number from " + std::to_string(least) + " to " + std::to_string(most));
    out = *number;
    return true;
}

bool SpecReader::seconds(std::string_view field, View value, uint64_t& out) {
    double seconds = -1;
    if (auto number = value.as_number())
        seconds = *number;
    else if (auto whole = value.as_int())
        seconds = static_cast<double>(*whole);
    if (!(seconds >= 0 && seconds <= longest_time)) // also false for a NaN
        return wrong(field, value, "a number of seconds from 0 to 86400");
    out = static_cast<uint64_t>(seconds * 1e9);
    return true;
}

bool SpecReader::size(std::string_view field, View value, std::string& out) {
    constexpr std::string_view expected =
        "a number of bytes, \"64K\", \"64M\", \"64G\", \"64T\" or unlimited";
    if (auto number = value.as_int()) {
        if (*number < 0) return wrong(field, value, expected);
        out = std::to_string(*number);
        return true;
    }
    auto text = value.as_text();
    if (!text) return wrong(field, value, expected);
    if (*text == "unlimited") {
        out = "max";
        return true;
    }
    auto bytes = byte_size(*text);
    if (!bytes) return wrong(field, value, expected);
    out = std::to_string(*bytes);
    return true;
}

bool SpecReader::command(std::string_view field, View value, Command& argv) {
    argv.clear();
    if (value.as_string()) {
        std::string line;
        if (!text(field, value, line)) return false;
        if (line.find_first_not_of(" \t\n") == std::string::npos)
            return fail(value, std::string(field) + ": the command is empty");
        argv = {"/bin/sh", "-c", std::move(line)};
        return true;
    }
    if (!value.is(Kind::sequence)) return wrong(field, value, "a string or a list of strings");
    for (View item : value.items())
        if (!text(field, item, argv.emplace_back())) return false;
    if (argv.empty()) return fail(value, std::string(field) + ": the list is empty");
    if (argv[0].empty())
        return fail(value, std::string(field) + ": the name of the program is empty");
    return true;
}

bool SpecReader::commands(std::string_view field, View value, std::vector<Command>& out) {
    bool several = false;
    if (value.is(Kind::sequence))
        for (View item : value.items())
            several = several || item.is(Kind::sequence);
    if (!several) return command(field, value, out.emplace_back());
    for (View item : value.items())
        if (!command(field, item, out.emplace_back())) return false;
    return true;
}

bool SpecReader::strings(std::string_view field, View value, std::vector<std::string>& out) {
    if (!value.is(Kind::sequence)) return wrong(field, value, "a list of strings");
    for (View item : value.items())
        if (!text(field, item, out.emplace_back())) return false;
    return true;
}

} // namespace muster::services

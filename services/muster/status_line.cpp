#include "services/muster/status_line.h"

#include "init/preserves/text_writer.h"
#include "services/muster/notation.h"
#include "services/tracker/service.h"

namespace muster::command {

using preserves::View;
using services::display_name;

namespace {

constexpr size_t name_width = 24;
constexpr size_t word_width = 9;

void pad(std::string& line, size_t to) {
    size_t length = columns(line);
    line.append(length < to ? to - length : 0, ' ');
    line += ' ';
}

// "mount-root ready" for <service-state <daemon mount-root> ready>.
std::string dependency_text(View dependee) {
    if (dependee.is_record("service-state", 2))
        return short_name(dependee.at(0)) + " " + preserves::to_text(dependee.at(1));
    if (dependee.is_record("present", 1)) return pattern_text(dependee.at(0));
    return preserves::to_text(dependee);
}

void add(std::string& detail, const std::string& more) {
    if (!detail.empty()) detail += ", ";
    detail += more;
}

// `<require-service web>` where <daemon web> is meant.
std::string unprovided(View name) {
    std::string text = "nobody provides it";
    if (name.is(preserves::Kind::symbol))
        text += ": is <daemon " + preserves::to_text(name) + "> meant?";
    return text;
}

} // namespace

std::string short_name(View service) {
    if (!service.is(preserves::Kind::record)) return display_name(service);
    bool plain = true;
    std::string text = "<" + preserves::to_text(service.label());
    for (View field : service.items()) {
        bool dictionary = field.is(preserves::Kind::dictionary);
        text += dictionary ? " {...}" : " " + preserves::to_text(field);
        plain = plain && !dictionary;
    }
    return plain ? display_name(service) : text + ">";
}

std::string status_line(View record, const Screen& screen) {
    std::string line = printable(short_name(record.at(0)));
    if (screen.terminal) line = screen.cut(line, screen.width / 2);
    pad(line, name_width);
    size_t width = columns(line);
    std::string word = preserves::to_text(record.at(1));
    line += screen.paint(colour_of(word), word);
    View facts = record.at(2);
    std::string detail;
    if (auto pid = facts.get("pid").as_int()) add(detail, "pid " + std::to_string(*pid));
    if (auto several = facts.get("processes").as_int()) // of as many descriptions
        add(detail, "one of " + std::to_string(*several));
    if (auto restarts = facts.get("restarts").as_int(); restarts && *restarts > 0)
        add(detail, "restarts " + std::to_string(*restarts));
    if (facts.get("undefined").valid()) add(detail, "nobody defines it");
    if (facts.get("unprovided").valid()) add(detail, unprovided(record.at(0)));
    if (View cycle = facts.get("cycle"); cycle.valid()) {
        std::string names;
        for (View name : cycle.items())
            names += display_name(name) + " -> ";
        add(detail, "cycle: " + names + display_name(cycle.at(0)));
    } else if (View waiting = facts.get("waiting-for"); waiting.valid()) {
        for (View each : waiting.items())
            add(detail, "waits for " + dependency_text(each));
        if (auto more = facts.get("waiting-for-more").as_int())
            add(detail, "and " + std::to_string(*more) + " more");
    }
    // How a one-shot that is complete ended goes without saying.
    auto last = facts.get("last").as_string();
    if (last && !last->empty() && !record.at(1).is_symbol("complete"))
        add(detail, "last: " + std::string(*last));
    if (auto delay = facts.get("delayMs").as_int())
        add(detail, "again after " + std::to_string(*delay) + " ms");
    if (View override = facts.get("override"); override.valid())
        add(detail, override.is_symbol("down") ? "held down" : "held up");
    if (facts.get("disabled").valid()) add(detail, "disabled");
    if (detail.empty()) return line;
    line.append(columns(word) < word_width ? word_width - columns(word) : 0, ' ');
    width += std::max(word_width, columns(word)) + 1;
    detail = printable(detail);
    if (screen.terminal)
        detail = screen.cut_end(detail, screen.width - std::min(width, screen.width));
    return line + ' ' + detail;
}

std::string config_error_line(View record) {
    auto file = record.at(0).as_string();
    std::string line(file ? *file : "?");
    if (record.at(1).as_int() != 0) // else it is about the file as a whole
        line += ":" + preserves::to_text(record.at(1)) + ":" + preserves::to_text(record.at(2));
    auto message = record.at(3).as_string();
    return line + ": " + std::string(message ? *message : "");
}

} // namespace muster::command

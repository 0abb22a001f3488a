#include "init/command_line.h"

#include <cstring>

#include "init/line.h"

namespace muster::pid1 {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == 0; }

void set_path(std::string_view value, char (&field)[records::kPathSize], CommandLine& line) {
    if (copy_field(field, sizeof field, value)) return;
    field[0] = 0;
    line.overlong = true;
}

void parse_word(std::string_view word, CommandLine& line) {
    if (word == "quiet") line.quiet = true;
    if (word == "emergency" || word == "-b") line.emergency = true;
    if (word.starts_with("init=")) set_path(word.substr(5), line.init, line);
    if (word.starts_with("muster.config=")) set_path(word.substr(14), line.config, line);
}

} // namespace

void parse_command_line(std::string_view text, CommandLine& line) {
    char word[2 * records::kPathSize];
    std::size_t at = 0;
    while (at < text.size()) {
        while (at < text.size() && is_blank(text[at]))
            ++at;
        std::size_t size = 0;
        std::size_t length = 0;
        bool quoted = false;
        for (; at < text.size() && (quoted || !is_blank(text[at])); ++at) {
            if (text[at] == '"') {
                quoted = !quoted;
                continue;
            }
            ++length;
            if (size < sizeof word) word[size++] = text[at];
        }
        if (length > 0) parse_word({word, size}, line);
    }
}

} // namespace muster::pid1

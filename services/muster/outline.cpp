#include "services/muster/outline.h"

#include <algorithm>

namespace muster::command {

namespace {

constexpr size_t word_width = 9;

// Pieces of at most `width` columns, cut at spaces where there are any.
std::vector<std::string> wrapped(const std::string& text, size_t width, const Screen& screen) {
    std::vector<std::string> lines;
    std::string line;
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find(' ', at), text.size());
        std::string word = text.substr(at, end - at);
        at = end + 1;
        if (!line.empty() && columns(line) + 1 + columns(word) > width) {
            lines.push_back(std::move(line));
            line.clear();
        }
        if (!line.empty()) line += ' ';
        line += screen.cut(word, width);
    }
    if (!line.empty() || lines.empty()) lines.push_back(std::move(line));
    return lines;
}

} // namespace

std::vector<std::string> outline(const std::vector<Row>& rows, const Screen& screen) {
    const std::string_view tee = screen.utf8 ? "├─ " : "|- ";
    const std::string_view corner = screen.utf8 ? "└─ " : "`- ";
    const std::string_view bar = screen.utf8 ? "│  " : "|  ";
    // From the end: whether another row of the same depth follows before a shallower one.
    std::vector<bool> last(rows.size());
    std::vector<bool> follows;
    for (size_t i = rows.size(); i-- > 0;) {
        size_t depth = rows[i].depth;
        follows.resize(depth + 1, false);
        last[i] = !follows[depth];
        follows[depth] = true;
    }
    size_t widest = 0;
    for (const Row& row : rows)
        if (!row.word.empty() || !row.detail.empty())
            widest = std::max(widest, 3 * row.depth + columns(row.text));
    size_t name_width = std::min(widest, std::max<size_t>(screen.width / 2, 24));

    std::vector<std::string> lines;
    std::vector<bool> open; // for each depth: whether its line goes on
    for (size_t i = 0; i < rows.size(); ++i) {
        const Row& row = rows[i];
        open.resize(row.depth + 1);
        open[row.depth] = !last[i];
        std::string guide, below;
        // Very deep ones begin at half of the width.
        size_t deepest = std::min(row.depth, screen.width / 6);
        for (size_t d = row.depth - deepest + 1; d <= row.depth && row.depth > 0; ++d) {
            guide += d < row.depth ? (open[d] ? bar : "   ") : (last[i] ? corner : tee);
            below += open[d] ? bar : "   ";
        }
        size_t used = 3 * deepest;
        if (row.word.empty() && row.detail.empty()) {
            bool parent = i + 1 < rows.size() && rows[i + 1].depth > row.depth;
            for (const std::string& piece : wrapped(row.text, screen.width - used, screen)) {
                lines.push_back(screen.paint(Colour::dim, guide) + screen.paint(row.colour, piece));
                guide = below + (parent ? std::string(bar) : "   ");
                if (columns(guide) != used) used += 3;
            }
            continue;
        }
        size_t room = name_width > used + 4 ? name_width - used : 4;
        std::string name = screen.cut(row.text, room);
        std::string line = screen.paint(Colour::dim, guide) + screen.paint(row.colour, name);
        line.append(room - columns(name) + 1, ' ');
        used += room + 1;
        line += screen.paint(colour_of(row.word), padded(row.word, word_width));
        used += std::max(word_width, columns(row.word)) + 1;
        if (!row.detail.empty() && used + 4 < screen.width)
            line += " " + screen.cut_end(row.detail, screen.width - used);
        size_t end = line.find_last_not_of(' ');
        line.erase(end == std::string::npos ? 0 : end + 1);
        lines.push_back(std::move(line));
    }
    return lines;
}

} // namespace muster::command

// Rows that hang below each other, with lines that show how: what `tree` and `why` print.
#pragma once

#include <string>
#include <vector>

#include "services/muster/screen.h"

namespace muster::command {

struct Row {
    size_t depth = 0;      // at most one more than that of the row before
    std::string text;      // wrapped if it does not fit, unless there are columns behind it
    std::string word = {}; // a state, the second column
    std::string detail = {};
    Colour colour = Colour::plain; // of the text
};

// One string for each line. Rows with a word or a detail are cut into columns: the name at most
// half of the width, the detail what is left.
std::vector<std::string> outline(const std::vector<Row>& rows, const Screen& screen);

} // namespace muster::command

#include "services/system/log_printer.h"

#include <unistd.h>

#include "init/base/rfc3339.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/service.h"

namespace muster::services {

namespace pat = dataspace::pattern;
using dataspace::Turn;

std::string log_line(View entry) {
    View service = entry.get("service");
    std::string line = service.valid() ? display_name(service) : "?";
    if (auto pid = entry.get("pid").as_int()) line += "[" + std::to_string(*pid) + "]";
    line += ": ";
    View said = entry.get("line");
    if (auto text = said.as_string())
        line += *text;
    else if (auto bytes = said.as_bytes())
        line.append(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    else
        line += preserves::to_text(without_capabilities(entry));
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
        line.pop_back();
    for (char& c : line)
        if (static_cast<unsigned char>(c) < ' ' && c != '\t') c = '?';
    return line;
}

void print_log(Turn& turn, const dataspace::CapRef& log, int fd, bool quiet) {
    on_message(turn, log, pat::record("log", {pat::discard(), pat::bind()}),
               [fd, quiet](Turn&, View seen) {
                   View entry = seen.at(0);
                   // The kernel has its own way to the console.
                   if (entry.get("service").is_symbol("kernel")) return;
                   bool ours = entry.get("service").is_symbol("muster") ||
                               entry.get("stream").is_symbol("supervisor");
                   if (quiet && !ours) return;
                   std::string line = log_line(entry) + "\n";
                   (void)!write(fd, line.data(), line.size());
               });
}

void say(Turn& turn, const dataspace::CapRef& log, std::string_view line) {
    Value text = preserves::string(line);
    Value source = preserves::symbol("muster");
    Value entry = preserves::dictionary({{"line", text}, {"service", source}});
    Value stamp = preserves::string(rfc3339_now());
    turn.message(log, preserves::record("log", {stamp, entry}));
}

} // namespace muster::services

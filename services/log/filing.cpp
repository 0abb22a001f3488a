#include "services/log/filing.h"

#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/log/files.h"
#include "services/tracker/service.h"

namespace muster::logs {

using preserves::View;
namespace pat = dataspace::pattern;

void file_messages(dataspace::Turn& turn, const dataspace::CapRef& log, Journal& journal) {
    on_message(turn, log, pat::record("log", {pat::bind(), pat::bind()}),
               [&journal](dataspace::Turn&, View seen) {
                   View entry = seen.at(1);
                   auto stamp = parse_time(seen.at(0).as_string().value_or(""));
                   if (entry.get("filed").valid()) return;
                   View service = entry.get("service");
                   std::string name = service.valid() ? services::display_name(service) : "unknown";
                   auto stream = entry.get("stream").as_symbol();
                   int64_t pid = entry.get("pid").as_int().value_or(0);
                   if (pid < 0 || pid > 0x7fffffff) pid = 0;
                   View said = entry.get("line");
                   std::string text;
                   if (auto string = said.as_string())
                       text = *string;
                   else if (auto bytes = said.as_bytes())
                       text.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
                   else
                       text = preserves::to_text(services::without_capabilities(entry));
                   journal.put(Source(name, stream ? std::string(*stream) : "message",
                                      static_cast<int32_t>(pid)),
                               text, stamp ? *stamp : realtime_us());
               });
}

} // namespace muster::logs

#include "services/tracker/overrides.h"

#include <fcntl.h>

#include <cerrno>

#include "init/base/fd.h"
#include "init/base/files.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

namespace muster::services {

namespace {

constexpr size_t max_file = 1024 * 1024;

Result<std::string> read_file(const std::string& path) {
    Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) {
        if (errno == ENOENT) return std::string();
        return system_error(path, errno);
    }
    std::string text;
    if (!read_to_end(file.get(), text, max_file)) return system_error(path, errno);
    return text;
}

} // namespace

std::vector<Override> load_overrides(const std::string& path, std::vector<std::string>& remarks) {
    std::vector<Override> overrides;
    Result<std::string> text = read_file(path);
    if (!text) {
        remarks.push_back(text.error().message);
        return overrides;
    }
    preserves::TextReader reader(*text);
    preserves::Value value;
    for (;;) {
        auto state = reader.next(value);
        if (state == preserves::TextReader::State::end) return overrides;
        if (state != preserves::TextReader::State::value) {
            remarks.push_back(path + ":" + std::to_string(reader.problem_location().line) + ": " +
                              reader.problem());
            return overrides;
        }
        preserves::View view = value;
        bool up = view.at(1).is_symbol("up");
        if (!view.is_record("service-override", 2) || (!up && !view.at(1).is_symbol("down"))) {
            remarks.push_back(path + ": not a service-override: " + preserves::to_text(view));
            continue;
        }
        overrides.push_back({preserves::Value(view.at(0)), up});
    }
}

Result<> save_overrides(const std::string& path, const std::vector<Override>& overrides) {
    std::string text;
    for (const Override& each : overrides) {
        if (each.service.has_embedded()) continue;
        text += "<service-override " + preserves::to_text(each.service);
        text += each.up ? " up>\n" : " down>\n";
    }
    return replace_file(path, text);
}

} // namespace muster::services

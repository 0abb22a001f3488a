// Reading the values of fields. Private to spec*.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "services/daemon/spec.h"

namespace muster::services {

// A specification being read: what it says so far, and what is wrong with it.
class SpecReader {
  public:
    DaemonSpec spec;
    RareFields rare;
    bool ready_given = false;
    bool linger_given = false;
    std::vector<SpecProblem> problems;

    // All of these: false if it is wrong, which has been noted then.
    bool fail(View part, std::string message);
    bool wrong(std::string_view field, View part, std::string_view expected);
    bool text(std::string_view field, View value, std::string& out);
    bool path(std::string_view field, View value, std::string& out);
    bool boolean(std::string_view field, View value, bool& out);
    bool integer(std::string_view field, View value, int64_t least, int64_t most, int64_t& out);
    // Seconds, whole or not, up to a day; nanoseconds come out.
    bool seconds(std::string_view field, View value, uint64_t& out);
    // Bytes: a number, or a string with K, M, G or T behind; or `unlimited`, which gives "max".
    bool size(std::string_view field, View value, std::string& out);
    // A string, run by sh, or a list of strings.
    bool command(std::string_view field, View value, Command& argv);
    // One of these, or a list of them of which at least one is a list itself.
    bool commands(std::string_view field, View value, std::vector<Command>& out);
    bool strings(std::string_view field, View value, std::vector<std::string>& out);
    // The entries of a dictionary whose keys are symbols; `each` returns false for a key that it
    // does not know.
    template <typename Each>
    bool fields(std::string_view field, View value, Each each) {
        if (!value.is(preserves::Kind::dictionary)) return wrong(field, value, "a dictionary");
        size_t before = problems.size();
        View key;
        for (View item : value.items()) {
            if (!key.valid()) {
                key = item;
                continue;
            }
            auto name = key.as_text();
            if (!name || !each(*name, item)) unknown(field, key);
            key = View();
        }
        return problems.size() == before;
    }
    bool unknown(std::string_view field, View key);

    // With an option of `init --exec`: for all programs of the service, for its process alone.
    void stub(std::string option, std::string value) {
        rare.stub.push_back(std::move(option));
        rare.stub.push_back(std::move(value));
    }
    void stream(std::string option, std::string value) {
        rare.streams.push_back(std::move(option));
        rare.streams.push_back(std::move(value));
    }
};

struct SpecField {
    std::string_view name;
    bool (*read)(SpecReader& reader, std::string_view name, View value);
};
struct SpecFields {
    const SpecField* begin;
    const SpecField* end;
};
SpecFields process_fields();
SpecFields life_fields();

} // namespace muster::services

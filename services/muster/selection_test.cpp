#include "services/muster/selection.h"

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::command;

namespace {

// As `$status` has them.
std::vector<Value> known() {
    std::vector<Value> all;
    for (const char* text :
         {"<service <daemon sshd> running {}>", "<service <daemon default> running {}>",
          "<service <milestone default> running {}>", "<service <milestone core> running {}>",
          "<service <daemon <getty \"tty1\">> running {}>",
          "<service <daemon <getty \"tty2\">> running {}>",
          "<service <config-watcher \"/etc/a\" {config: capability log: capability}> running {}>",
          "<service <config-watcher \"/etc/b\" {config: capability}> running {}>",
          "<service <relay-listener <unix \"/run/bus\"> capability> running {}>"})
        all.push_back(*preserves::parse_text(text));
    return all;
}

std::string meant(const std::string& word) {
    std::string text;
    for (const Value& each : services_meant(word, known()))
        text += (text.empty() ? "" : " | ") + preserves::to_text(each);
    return text;
}

} // namespace

TEST_CASE("a service is meant by its name, or by what it begins with") {
    CHECK(meant("sshd") == "<daemon sshd>");
    CHECK(meant("default") == "<daemon default>");
    CHECK(meant("core") == "<milestone core>");
    CHECK(meant("unknown") == "<daemon unknown>");
    CHECK(meant("<daemon sshd>") == "<daemon sshd>");
    CHECK(meant("<getty \"tty1\">") == "<getty \"tty1\">");
    CHECK(meant("<daemon <getty \"tty1\">>") == "<daemon <getty \"tty1\">>");
    CHECK(meant("<daemon <getty _>>") == "<daemon <getty \"tty1\">> | <daemon <getty \"tty2\">>");
    CHECK(meant("<daemon <getty>>") == "<daemon <getty \"tty1\">> | <daemon <getty \"tty2\">>");
}

TEST_CASE("names with dictionaries and capabilities can be typed in each way they are shown") {
    std::string a = "<config-watcher \"/etc/a\" {log: capability, config: capability}>";
    CHECK(meant(a) == a);
    CHECK(meant("<config-watcher \"/etc/a\" {...}>") == a);                      // muster status
    CHECK(meant("<config-watcher \"/etc/a\" {config: #:3 log: #:[x 4]}>") == a); // muster list
    CHECK(meant("<config-watcher \"/etc/a\">") == a);
    CHECK(meant("<config-watcher _ {log: _}>") == a);
    CHECK(meant("<config-watcher \"/etc/b\" {config: _}>") ==
          "<config-watcher \"/etc/b\" {config: capability}>");
    CHECK(meant("<config-watcher>").find(" | ") != std::string::npos);
    CHECK(meant("<relay-listener <unix _>>") == "<relay-listener <unix \"/run/bus\"> capability>");
    CHECK(meant("<relay-listener <unix \"/run/bus\"> #:7>") ==
          "<relay-listener <unix \"/run/bus\"> capability>");
}

#include "services/tracker/check_tie.h"

#include "init/preserves/text_writer.h"
#include "services/tracker/service.h"

namespace muster::services {

namespace {

std::string shown(View value) { return preserves::to_text(without_capabilities(value)); }

// Empty if nothing is.
std::string wrong_dependee(View dependee) {
    if ((dependee.is_record("daemon") || dependee.is_record("milestone")) && dependee.count() == 1)
        return " is a service and no state of one: <service-state " + shown(dependee) + " up>";
    if (dependee.is_record("service-state") && dependee.count() != 2)
        return " is no <service-state S STATE>";
    if (dependee.is_record("present", 1) && !pattern_of_condition(dependee).valid())
        return ": what is to be present is no pattern";
    return {};
}

} // namespace

std::vector<std::pair<View, std::string>> check_tie(View assertion) {
    auto is = [&](std::string_view label) {
        return assertion.is_record(label) && assertion.count() == 2;
    };
    View second = assertion.at(1);
    std::string wrong;
    if (is("depends-on"))
        wrong = wrong_dependee(second);
    else if (is("wants") && !second.is_record("service-state", 2))
        wrong = " is no <service-state S STATE>";
    else if (is("started-by") && !pattern_of_condition(second).valid())
        wrong = " is neither <present PATTERN> nor <message PATTERN>";
    else if (is("idle-stop"))
        wrong = idle_time(second) == 0 ? " is no number of seconds above 0" : "";
    if (wrong.empty()) return {};
    std::string tie =
        "<" + preserves::to_text(assertion.label()) + " " + shown(assertion.at(0)) + " …>: ";
    return {{second, tie + shown(second) + wrong}};
}

} // namespace muster::services

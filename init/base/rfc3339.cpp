#include "init/base/rfc3339.h"

#include <time.h>

#include <cstdio>

namespace muster {

std::string rfc3339_now() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm date{};
    gmtime_r(&now.tv_sec, &date);
    char text[80];
    int length = std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ",
                               date.tm_year + 1900, date.tm_mon + 1, date.tm_mday, date.tm_hour,
                               date.tm_min, date.tm_sec, now.tv_nsec / 1000);
    return std::string(text, static_cast<size_t>(length));
}

} // namespace muster

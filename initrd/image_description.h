// The file that says what is in an image: a line for each thing, `WORD VALUE...`, # begins a
// comment. All words are in `muster.image` beside this, with what they mean. Host only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/result.h"

namespace muster::image {

struct User {
    std::string name, home, shell = "/bin/sh",
                            password = "*"; // as in shadow(5); "*": no login by it
    std::uint32_t uid = 0;
    std::vector<std::string> groups; // beside one of its own name
    bool given = false;              // false: only a key names it, so packages must bring it
};

struct Key {
    std::string user, text; // a line of authorized_keys
    int line = 0;
};

struct Network {
    std::string interface;
    bool dhcp = false;
    std::string address, gateway; // address with /prefix
    std::vector<std::string> dns;
};

struct Service {
    std::string name;
    std::string command; // "": somebody else says how it runs
};

struct HostFile {
    std::string host, guest;
    int mode = -1; // -1: 0755 if executable, else 0644
};

struct Description {
    bool in_memory = false; // layout memory
    std::uint64_t size = 0; // bytes of the file system on the disk
    std::vector<std::string> packages;
    std::vector<std::string> repositories; // URLs that the image's apk uses
    std::vector<Service> services;
    std::vector<User> users;
    std::vector<Key> keys;
    std::vector<Network> networks;
    std::vector<HostFile> files;
    std::vector<std::string> keep; // folders that an image in memory keeps on the disk
    std::string hostname = "muster";
    std::string kernel; // words for the kernel command line
};

// FOLDER is what host names of files are relative to. An error begins with "NAME:LINE: ".
Result<Description> parse_description(std::string_view text, const std::string& name,
                                      const std::string& folder);

} // namespace muster::image

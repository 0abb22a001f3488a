#include "services/system/kernel_parameters.h"

namespace muster::services {

KernelParameters parse_kernel_parameters(std::string_view command_line) {
    KernelParameters parameters;
    std::string word;
    bool quoted = false;
    auto take = [&] {
        if (word.empty()) return;
        size_t equals = word.find('=');
        if (equals == std::string::npos)
            parameters.emplace_back(word, "");
        else
            parameters.emplace_back(word.substr(0, equals), word.substr(equals + 1));
        word.clear();
    };
    for (char c : command_line) {
        if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == ' ' || c == '\t' || c == '\n'))
            take();
        else
            word += c;
    }
    take();
    return parameters;
}

std::string_view boot_mode(const KernelParameters& parameters, bool initramfs) {
    bool single = false;
    for (const auto& [key, value] : parameters) {
        if (key == "root" && !value.empty() && initramfs) return "switch-root";
        if (value.empty() && (key == "single" || key == "S" || key == "s" || key == "1"))
            single = true;
    }
    return single ? "single" : "normal";
}

} // namespace muster::services

#include "services/muster/svg.h"

#include <cmath>
#include <cstdio>

#include "init/preserves/utf8.h"

namespace muster::command {

namespace {

// Contrast of text to its ground is at least 4.5 in both.
constexpr const char* style = R"(
.bg{fill:#ffffff}
text{font-family:"DejaVu Sans Mono",Menlo,Consolas,"Liberation Mono",monospace;font-size:12px}
.h{font-size:18px;font-weight:bold}
.b{font-weight:bold}
.t,.h,.b{fill:#1f2328}
.d{fill:#57606a}
.over{stroke:#ffffff;stroke-width:3px;stroke-opacity:0.85;paint-order:stroke;stroke-linejoin:round}
.k{fill:#b3400a;font-weight:bold}
.e{fill:#b42318}
.grid{stroke:#e4e8ec;stroke-width:1}
.axis{stroke:#8c959f;stroke-width:1}
.band{fill:#f6f8fa}
.kernel{fill:#c9b8e8}
.wait{fill:#d5dbe1}
.own{fill:#5b9bd5}
.crit{fill:#e8710a}
.bad{fill:#d64545}
.cut{fill:#f2c14e}
.link{fill:none;stroke:#e8710a;stroke-width:1.5}
.mark{stroke:#2da44e;stroke-width:1.5;stroke-dasharray:5 3}
.stone{fill:#2da44e}
.node{fill:#f6f8fa;stroke:#8c959f;stroke-width:1}
.here{fill:#ddf4ff;stroke:#0969da;stroke-width:2}
.fact{fill:#ffffff;stroke:#8c959f;stroke-width:1;stroke-dasharray:4 3}
.lost{fill:#fff0ee;stroke:#d64545;stroke-width:1.5;stroke-dasharray:4 3}
.s-running{fill:#2da44e}
.s-complete{fill:#7fb8a4}
.s-waiting{fill:#e0a800}
.s-starting,.s-stopping{fill:#2f81c1}
.s-failed{fill:#d64545}
.s-stopped{fill:#afb8c1}
.edge{fill:none;stroke:#8c959f;stroke-width:1.2}
.open{fill:none;stroke:#e0a800;stroke-width:1.6;stroke-dasharray:5 3}
.ring{fill:none;stroke:#d64545;stroke-width:1.8}
.tip{fill:#8c959f}
.tip-open{fill:#e0a800}
.tip-ring{fill:#d64545}
@media (prefers-color-scheme:dark){
.bg{fill:#0d1117}
.t,.h,.b{fill:#e6edf3}
.d{fill:#9198a1}
.over{stroke:#0d1117}
.k{fill:#ffa657}
.e{fill:#ff8f85}
.grid{stroke:#21262d}
.axis{stroke:#6e7681}
.band{fill:#12171e}
.kernel{fill:#6e5a9e}
.wait{fill:#3a424b}
.own{fill:#3f7fbf}
.node{fill:#161b22;stroke:#6e7681}
.here{fill:#0c2d4d;stroke:#4493f8}
.fact{fill:#0d1117;stroke:#6e7681}
.lost{fill:#2d1315;stroke:#d64545}
.edge{stroke:#6e7681}
.tip{fill:#6e7681}
}
)";

// Whether XML 1.0 can hold it.
bool is_xml(uint32_t code) {
    if (code < 0x20) return code == '\t' || code == '\n' || code == '\r';
    return code != 0xfffe && code != 0xffff && !(code >= 0x7f && code < 0xa0);
}

} // namespace

std::string xml_text(std::string_view text) {
    std::string result;
    const char* at = text.data();
    const char* end = at + text.size();
    while (at != end) {
        uint32_t code = preserves::read_code_point(at, end);
        if (code == preserves::no_code_point) {
            ++at;
            code = 0xfffd;
        }
        if (!is_xml(code)) code = 0xfffd;
        if (code == '&')
            result += "&amp;";
        else if (code == '<')
            result += "&lt;";
        else if (code == '>')
            result += "&gt;";
        else if (code == '"')
            result += "&quot;";
        else
            preserves::append_code_point(code, result);
    }
    return result;
}

std::string svg_number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", std::abs(value) < 0.05 ? 0.0 : value);
    std::string number = text;
    if (number.ends_with(".0")) number.resize(number.size() - 2);
    return number;
}

Svg::Svg(double width, double height, std::string_view title) {
    std::string size = svg_number(width) + "\" height=\"" + svg_number(height);
    out_ = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
           "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" +
           size + "\" viewBox=\"0 0 " + svg_number(width) + " " + svg_number(height) +
           "\">\n<title>" + xml_text(title) + "</title>\n<style>" + style + "</style>\n";
    rect(0, 0, width, height, "bg");
}

void Svg::rect(double x, double y, double width, double height, std::string_view css,
               double radius) {
    out_ += "<rect x=\"" + svg_number(x) + "\" y=\"" + svg_number(y) + "\" width=\"" +
            svg_number(width) + "\" height=\"" + svg_number(height) + "\"";
    if (radius > 0) out_ += " rx=\"" + svg_number(radius) + "\"";
    out_ += " class=\"" + xml_text(css) + "\"/>\n";
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css) {
    out_ += "<line x1=\"" + svg_number(x1) + "\" y1=\"" + svg_number(y1) + "\" x2=\"" +
            svg_number(x2) + "\" y2=\"" + svg_number(y2) + "\" class=\"" + xml_text(css) + "\"/>\n";
}

void Svg::path(const std::string& data, std::string_view css) {
    out_ += "<path d=\"" + data + "\" class=\"" + xml_text(css) + "\"/>\n";
}

void Svg::text(double x, double y, std::string_view text, std::string_view css,
               std::string_view anchor) {
    out_ += "<text x=\"" + svg_number(x) + "\" y=\"" + svg_number(y) + "\" class=\"" +
            xml_text(css) + "\"";
    if (anchor != "start") out_ += " text-anchor=\"" + std::string(anchor) + "\"";
    out_ += ">" + xml_text(text) + "</text>\n";
}

void Svg::open(std::string_view tooltip) {
    out_ += "<g><title>" + xml_text(tooltip) + "</title>\n";
}

void Svg::close() { out_ += "</g>\n"; }

std::string Svg::finish() { return std::move(out_) + "</svg>\n"; }

} // namespace muster::command

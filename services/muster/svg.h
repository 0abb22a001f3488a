// Pictures as SVG 1.1 that need nothing but themselves: no scripts, no fonts of their own, colours
// for light and dark surroundings. Lengths are pixels.
#pragma once

#include <string>
#include <string_view>

namespace muster::command {

// Text is set in a monospaced font of this size, so that its width is known.
inline constexpr double svg_letter = 7.25;
inline constexpr double svg_font = 12;

class Svg {
  public:
    Svg(double width, double height, std::string_view title);

    // Classes are those of the style sheet in svg.cpp.
    void rect(double x, double y, double width, double height, std::string_view css,
              double radius = 0);
    void line(double x1, double y1, double x2, double y2, std::string_view css);
    // `data`: a path of numbers and commands.
    void path(const std::string& data, std::string_view css);
    // `anchor`: start, middle or end.
    void text(double x, double y, std::string_view text, std::string_view css = "t",
              std::string_view anchor = "start");
    // What follows, up to `close`, has this tooltip.
    void open(std::string_view tooltip);
    void close();

    std::string finish();

  private:
    std::string out_;
};

// As XML text or attribute: markup escaped; what XML cannot hold (control characters, what is no
// UTF-8, U+FFFE, U+FFFF) as U+FFFD.
std::string xml_text(std::string_view text);
// At most one digit behind the point.
std::string svg_number(double value);

} // namespace muster::command

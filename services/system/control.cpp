#include "services/system/control.h"

#include "init/preserves/text_writer.h"
#include "services/system/log_printer.h"
#include "services/tracker/service.h"

namespace muster::services {

using dataspace::Turn;

namespace {

class Control final : public dataspace::Entity {
  public:
    Control(dataspace::CapRef log, std::function<void(int)> exit)
        : log_(std::move(log)), exit_(std::move(exit)) {}

    void on_message(Turn& turn, const Value& body) override {
        View request = body;
        auto status = request.at(0).as_int();
        if (!request.is_record("exit", 1) || !status || *status < 0 || *status > 255) {
            say(turn, log_,
                "$control takes <exit STATUS>, from 0 to 255, not " +
                    preserves::to_text(without_capabilities(request)));
            return;
        }
        exit_(static_cast<int>(*status));
    }

  private:
    dataspace::CapRef log_;
    std::function<void(int)> exit_;
};

} // namespace

dataspace::CapRef control(Turn& turn, const dataspace::CapRef& log, std::function<void(int)> exit) {
    return turn.make_cap(make_ref<Control>(log, std::move(exit)));
}

} // namespace muster::services

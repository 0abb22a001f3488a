// What a service on stdio gets as `$config`: a capability that lets through what it says about its
// own state, `<service-state <daemon ID> …>`, and nothing else. It lives in a facet of the run of
// its process, so that what it said goes when the process is asked to stop.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>

#include "init/dataspace/actor.h"

namespace muster::services {

class OwnState final : public dataspace::Entity {
  public:
    // `complain` is called, once, when something else is asserted.
    OwnState(dataspace::CapRef config, preserves::Value service,
             std::function<void(dataspace::Turn&, const std::string&)> complain)
        : config_(std::move(config)), service_(std::move(service)), complain_(std::move(complain)) {
    }

    void on_assert(dataspace::Turn& turn, const preserves::Value& value,
                   dataspace::Handle handle) override;
    void on_retract(dataspace::Turn& turn, dataspace::Handle handle) override;

  private:
    dataspace::CapRef config_;
    preserves::Value service_;
    std::function<void(dataspace::Turn&, const std::string&)> complain_;
    std::unordered_map<dataspace::Handle, dataspace::Handle> passed_;
};

} // namespace muster::services

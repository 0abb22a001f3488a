// Assertions and messages to one capability, over the connection to the dataspace.
#pragma once

#include "init/protocol/client.h"

namespace muster::netlink {

using protocol::Client;

class Publisher {
  public:
    // `client` outlives the publisher.
    Publisher(Client& client, Ref<protocol::Reference> target)
        : client_(client), target_(std::move(target)) {}

    // What is said while one lives is one Turn, so that the other side handles it as one.
    class Turn {
      public:
        explicit Turn(Publisher& publisher) : client_(publisher.client_) { client_.begin(); }
        ~Turn() { client_.commit(); }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

      private:
        Client& client_;
    };

    Client::Handle assert_(preserves::View value) { return client_.assert_(target_, value); }
    void retract(Client::Handle handle) { client_.retract(handle); }
    void message(preserves::View body) { client_.message(target_, body); }
    // The new before the old goes, in one turn: nobody sees a gap.
    void replace(Client::Handle& handle, preserves::View value) {
        const Turn turn(*this);
        const Client::Handle old = handle;
        handle = assert_(value);
        retract(old);
    }

  private:
    Client& client_;
    Ref<protocol::Reference> target_;
};

} // namespace muster::netlink

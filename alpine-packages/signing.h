// Signing what we make: packages and indexes. Host only.
// Source: shared/reference/alpine.md section 1; RFC 8017 section 8.2 (RSASSA-PKCS1-v1_5).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "init/base/result.h"

namespace muster::apk {

// A private RSA key and the name under which people keep its public half.
class PrivateKey {
  public:
    // NAME: the file name of the public half, "x.rsa.pub".
    static Result<PrivateKey> from_pem(std::string_view pem, std::string name);

    const std::string& name() const { return name_; }

    // Signature over SHA-1, which is what abuild makes and every apk 2 and 3 accepts. The same
    // data gives the same signature.
    Result<std::string> sign(std::string_view data) const;

    // The first member of a package or an index whose other member is SIGNED: the signature in a
    // tar without end, compressed.
    Result<std::string> signature_member(std::string_view signed_bytes) const;

  private:
    PrivateKey(std::shared_ptr<void> key, std::string name)
        : key_(std::move(key)), name_(std::move(name)) {}
    std::shared_ptr<void> key_; // EVP_PKEY
    std::string name_;
};

} // namespace muster::apk

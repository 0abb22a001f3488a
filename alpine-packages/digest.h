// Digests, base64 and RSA signatures, on libcrypto. Host only.
// Source: FIPS 180-4 (SHA), RFC 4648 (base64), RFC 8017 section 8.2 (RSASSA-PKCS1-v1_5).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/result.h"

namespace muster::apk {

// Raw digests: 20, 32 bytes.
std::string sha1(std::string_view data);
std::string sha256(std::string_view data);

std::string hex(std::string_view bytes);
// nullopt unless TEXT is pairs of hexadecimal digits.
std::optional<std::string> unhex(std::string_view text);

// Standard alphabet with padding.
std::string base64(std::string_view bytes);

// How packages name a SHA-1: "Q1" and the base64 of it.
std::string q1(std::string_view sha1_bytes);

// A public key in PEM. Copies share the key.
class PublicKey {
  public:
    static Result<PublicKey> from_pem(std::string_view pem);

    // SHA-256 of the key's DER SubjectPublicKeyInfo, lower-case hexadecimal.
    std::string fingerprint() const;

    // DIGEST is "sha1", "sha256" or "sha512". False for whatever is no valid signature of DATA.
    bool verifies(std::string_view data, std::string_view signature, const char* digest) const;

  private:
    explicit PublicKey(std::shared_ptr<void> key) : key_(std::move(key)) {}
    std::shared_ptr<void> key_; // EVP_PKEY
};

// The keys whose signatures count, by file name ("alpine-devel@….rsa.pub"), as apk has them in
// /etc/apk/keys.
class KeyRing {
  public:
    // Trusts every *.pub file in FOLDER.
    Result<> trust_folder(const std::string& folder);

    // Trusts a key from a source that need not be trusted itself, if its fingerprint is among
    // Alpine's release keys that this program knows. Says whether it did.
    bool trust_if_pinned(const std::string& name, std::string_view pem);

    // Trusts this key under NAME.
    Result<> trust(const std::string& name, std::string_view pem);

    const PublicKey* find(const std::string& name) const;
    bool empty() const { return keys_.empty(); }
    // For messages: the names, separated by ", ".
    std::string names() const;

  private:
    std::map<std::string, PublicKey> keys_;
};

} // namespace muster::apk

#include "alpine-packages/digest.h"

#include <dirent.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "alpine-packages/files.h"

namespace muster::apk {
namespace {

// Alpine's release keys for x86_64: name, SHA-256 of the SubjectPublicKeyInfo. The key itself
// may then come from anywhere, such as the alpine-keys package of an unknown mirror.
struct Pin {
    std::string_view name;
    std::string_view fingerprint;
};
constexpr std::array<Pin, 3> pins = {{
    {"alpine-devel@lists.alpinelinux.org-4a6a0840.rsa.pub",
     "4e0c26751a474db486b0a8f37e37ff02e12465e8cea8ef08614ac173cb870f28"},
    {"alpine-devel@lists.alpinelinux.org-5261cecb.rsa.pub",
     "bb1f0937c138e81a838e0958c4c756547dac85794e38bf1a5536a0808dcf95f2"},
    {"alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub",
     "8a70fc55f1a6fb2a392ad5a3e71aff82a637b2b33659c046f6b6a909bb5d1ab7"},
}};

std::string digest(const EVP_MD* kind, std::string_view data) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> out;
    unsigned int size = 0;
    EVP_Digest(data.data(), data.size(), out.data(), &size, kind, nullptr);
    return std::string(reinterpret_cast<char*>(out.data()), size);
}

EVP_PKEY* pkey(const std::shared_ptr<void>& key) { return static_cast<EVP_PKEY*>(key.get()); }

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

} // namespace

std::string sha1(std::string_view data) { return digest(EVP_sha1(), data); }
std::string sha256(std::string_view data) { return digest(EVP_sha256(), data); }

std::string hex(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    for (unsigned char c : bytes) {
        out += digits[c >> 4];
        out += digits[c & 15];
    }
    return out;
}

std::optional<std::string> unhex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        out += static_cast<char>(high << 4 | low);
    }
    return out;
}

std::string base64(std::string_view bytes) {
    std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
    int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                               reinterpret_cast<const unsigned char*>(bytes.data()),
                               static_cast<int>(bytes.size()));
    out.resize(static_cast<std::size_t>(size));
    return out;
}

std::string q1(std::string_view sha1_bytes) { return "Q1" + base64(sha1_bytes); }

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
    std::unique_ptr<BIO, decltype(&BIO_free)> bio(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
    EVP_PKEY* key = bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr) : nullptr;
    if (!key) return Error{"not a public key in PEM"};
    std::shared_ptr<void> owned(key, [](void* p) { EVP_PKEY_free(static_cast<EVP_PKEY*>(p)); });
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) return Error{"not an RSA key"};
    return PublicKey(std::move(owned));
}

std::string PublicKey::fingerprint() const {
    unsigned char* der = nullptr;
    int size = i2d_PUBKEY(pkey(key_), &der);
    if (size <= 0) return "";
    std::string out = hex(sha256({reinterpret_cast<char*>(der), static_cast<std::size_t>(size)}));
    OPENSSL_free(der);
    return out;
}

bool PublicKey::verifies(std::string_view data, std::string_view signature,
                         const char* digest_name) const {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                    &EVP_MD_CTX_free);
    const EVP_MD* kind = EVP_get_digestbyname(digest_name);
    if (!context || !kind) return false;
    if (EVP_DigestVerifyInit(context.get(), nullptr, kind, nullptr, pkey(key_)) != 1) return false;
    return EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                            signature.size(), reinterpret_cast<const unsigned char*>(data.data()),
                            data.size()) == 1;
}

Result<> KeyRing::trust(const std::string& name, std::string_view pem) {
    auto key = PublicKey::from_pem(pem);
    if (!key) return key.error().with_context(name);
    keys_.insert_or_assign(name, *key);
    return {};
}

Result<> KeyRing::trust_folder(const std::string& folder) {
    auto names = list_folder(folder);
    if (!names) return names.error();
    for (const std::string& name : *names) {
        if (!name.ends_with(".pub")) continue;
        auto pem = read_file(folder + "/" + name);
        if (!pem) return pem.error();
        if (auto done = trust(name, *pem); !done) return done.error().with_context(folder);
    }
    return {};
}

bool KeyRing::trust_if_pinned(const std::string& name, std::string_view pem) {
    for (const Pin& pin : pins) {
        if (pin.name != name) continue;
        auto key = PublicKey::from_pem(pem);
        if (!key || key->fingerprint() != pin.fingerprint) return false;
        keys_.insert_or_assign(name, *key);
        return true;
    }
    return false;
}

const PublicKey* KeyRing::find(const std::string& name) const {
    auto found = keys_.find(name);
    return found == keys_.end() ? nullptr : &found->second;
}

std::string KeyRing::names() const {
    std::string out;
    for (const auto& [name, key] : keys_)
        out += (out.empty() ? "" : ", ") + name;
    return out;
}

} // namespace muster::apk

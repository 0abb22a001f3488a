#include "alpine-packages/signing.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "alpine-packages/gzip.h"
#include "alpine-packages/tar_write.h"

namespace muster::apk {

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem, std::string name) {
    std::unique_ptr<BIO, decltype(&BIO_free)> bio(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
    // No callback that asks for a password: such a key is refused.
    auto refuse = [](char*, int, int, void*) { return -1; };
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse, nullptr);
    if (!key) return Error{"not a private key in PEM without a password"};
    std::shared_ptr<void> owned(key, [](void* p) { EVP_PKEY_free(static_cast<EVP_PKEY*>(p)); });
    if (EVP_PKEY_base_id(key) != EVP_PKEY_RSA) return Error{"not an RSA key"};
    return PrivateKey(std::move(owned), std::move(name));
}

Result<std::string> PrivateKey::sign(std::string_view data) const {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                    &EVP_MD_CTX_free);
    auto* key = static_cast<EVP_PKEY*>(key_.get());
    auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
    std::string signature(static_cast<std::size_t>(EVP_PKEY_size(key)), '\0');
    std::size_t size = signature.size();
    if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha1(), nullptr, key) != 1 ||
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       bytes, data.size()) != 1)
        return Error{"libcrypto cannot sign with " + name_};
    signature.resize(size);
    return signature;
}

Result<std::string> PrivateKey::signature_member(std::string_view signed_bytes) const {
    auto signature = sign(signed_bytes);
    if (!signature) return signature.error();
    TarWriter tar(0);
    tar.add({.path = ".SIGN.RSA." + name_, .data = *signature});
    return compress_gzip(tar.take(false));
}

} // namespace muster::apk

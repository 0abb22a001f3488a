// For the tests: packages and indexes of our own making, and where the real ones are.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "alpine-packages/digest.h"
#include "alpine-packages/files.h"
#include "alpine-packages/gzip.h"
#include "alpine-packages/tar_write.h"

namespace muster::apk::test {

// Real packages: <shared>/alpine; "" when they are not there.
inline std::string real_packages() {
    const char* shared = std::getenv("MUSTER_SHARED");
    std::string folder = std::string(shared ? shared : "../shared") + "/alpine";
    return exists(folder + "/v3.19/main/x86_64/APKINDEX.tar.gz") ? folder : "";
}
inline constexpr const char* no_real_packages = "no Alpine packages in $MUSTER_SHARED or ../shared";

// A folder that goes away with the test.
class Folder {
  public:
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "muster-XXXXXX").string();
        path_ = mkdtemp(name.data());
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

inline std::string gzip(std::string_view data) { return compress_gzip(data); }

// One tar entry, as it is put into an archive; nothing is checked.
struct Entry {
    std::string path;
    std::string data = "";
    char type = '0';
    std::string target = "";
    unsigned mode = 0644;
    std::string user = "root", group = "root";
    bool sum = true;                                                // with APK-TOOLS.checksum.SHA1
    std::vector<std::pair<std::string, std::string>> extended = {}; // more extended headers
};

inline std::string tar_header(const Entry& entry, std::size_t size) {
    std::string header(512, '\0');
    auto put = [&](std::size_t at, const std::string& text) {
        header.replace(at, text.size(), text);
    };
    auto octal = [&](std::size_t at, int digits, unsigned long value) {
        std::array<char, 24> text;
        std::snprintf(text.data(), text.size(), "%0*lo", digits, value);
        put(at, text.data());
    };
    put(0, entry.path.substr(0, 100));
    octal(100, 7, entry.mode);
    octal(108, 7, 0);
    octal(116, 7, 0);
    octal(124, 11, size);
    octal(136, 11, 1700000000);
    put(148, "        ");
    header[156] = entry.type;
    put(157, entry.target.substr(0, 100));
    put(257, "ustar");
    put(263, "00");
    put(265, entry.user);
    put(297, entry.group);
    unsigned long sum = 0;
    for (unsigned char c : header)
        sum += c;
    octal(148, 6, sum);
    header[154] = '\0';
    return header;
}

inline std::string tar_entry(const Entry& entry) {
    std::string out;
    auto extended = entry.extended;
    if (entry.sum && entry.type == '0')
        extended.emplace_back("APK-TOOLS.checksum.SHA1", hex(sha1(entry.data)));
    auto block = [&](const Entry& e, std::string_view data) {
        out += tar_header(e, data.size());
        out += data;
        out.append((512 - data.size() % 512) % 512, '\0');
    };
    if (!extended.empty()) {
        std::string records;
        for (const auto& [key, value] : extended) {
            std::string rest = " " + key + "=" + value + "\n";
            std::size_t size = rest.size() + 1;
            while (std::to_string(size).size() + rest.size() != size)
                ++size;
            records += std::to_string(size) + rest;
        }
        block(Entry{.path = "pax", .type = 'x'}, records);
    }
    block(entry, entry.data);
    return out;
}

inline std::string tar(const std::vector<Entry>& entries, bool end_mark) {
    std::string out;
    for (const Entry& entry : entries)
        out += tar_entry(entry);
    if (end_mark) out.append(1024, '\0');
    return out;
}

// An RSA key of our own.
class Signer {
  public:
    explicit Signer(unsigned bits = 2048) : key_(EVP_RSA_gen(bits), &EVP_PKEY_free) {}

    std::string public_pem() const {
        std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
        PEM_write_bio_PUBKEY(bio.get(), key_.get());
        char* text = nullptr;
        long size = BIO_get_mem_data(bio.get(), &text);
        return std::string(text, static_cast<std::size_t>(size));
    }

    std::string private_pem() const {
        std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
        PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
        char* text = nullptr;
        long size = BIO_get_mem_data(bio.get(), &text);
        return std::string(text, static_cast<std::size_t>(size));
    }

    // The first member of a package or an index.
    std::string sign(std::string_view data, const std::string& key_name,
                     const std::string& kind = "RSA") const {
        const EVP_MD* digest = kind == "RSA256"   ? EVP_sha256()
                               : kind == "RSA512" ? EVP_sha512()
                                                  : EVP_sha1();
        std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
        EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key_.get());
        std::string signature(512, '\0');
        std::size_t size = signature.size();
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       reinterpret_cast<const unsigned char*>(data.data()), data.size());
        signature.resize(size);
        Entry entry{.path = ".SIGN." + kind + "." + key_name, .data = signature, .sum = false};
        return gzip(tar({entry}, false));
    }

  private:
    std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

// Generating one takes a while.
inline const Signer& signer() {
    static const Signer one;
    return one;
}
inline const std::string key_name = "tester.rsa.pub";

inline KeyRing our_keys() {
    KeyRing keys;
    if (auto done = keys.trust(key_name, signer().public_pem()); !done) std::abort();
    return keys;
}

struct Recipe {
    std::string name;
    std::string version = "1-r0";
    std::string more = ""; // further lines of .PKGINFO
    std::vector<Entry> files = {};
    std::string kind = "RSA";
    bool datahash = true;
};

inline std::string make_package(const Recipe& recipe) {
    std::string data = gzip(tar(recipe.files, true));
    std::string info = "# made by a test\npkgname = " + recipe.name +
                       "\npkgver = " + recipe.version + "\narch = x86_64\n" + recipe.more;
    if (recipe.datahash) info += "datahash = " + hex(sha256(data)) + "\n";
    std::string control = gzip(tar({{.path = ".PKGINFO", .data = info, .sum = false}}, false));
    return signer().sign(control, key_name, recipe.kind) + control + data;
}

// The sizes of the gzip members of a package or index of ours.
inline std::vector<std::size_t> members(std::string_view file) {
    std::vector<std::size_t> out;
    while (auto member = take_gzip(file, std::size_t{1} << 30))
        out.push_back(member->compressed.size());
    return out;
}

inline std::string make_index(std::string_view text) {
    std::string index = gzip(tar({{.path = "DESCRIPTION", .data = "test", .sum = false},
                                  {.path = "APKINDEX", .data = std::string(text), .sum = false}},
                                 true));
    return signer().sign(index, key_name) + index;
}

// A repository of our own packages in FOLDER, with keys in FOLDER/keys.
inline void make_repository(const Folder& folder, const std::vector<Recipe>& recipes,
                            const std::vector<std::string>& index_lines) {
    std::string text;
    for (std::size_t i = 0; i < recipes.size(); ++i) {
        std::string file = make_package(recipes[i]);
        std::size_t first = members(file)[0], second = members(file)[1];
        text += "C:" + q1(sha1(std::string_view(file).substr(first, second))) +
                "\nP:" + recipes[i].name + "\nV:" + recipes[i].version +
                "\nA:x86_64\nS:" + std::to_string(file.size()) + "\n" +
                (i < index_lines.size() ? index_lines[i] : "") + "\n";
        if (!write_file(folder / (recipes[i].name + "-" + recipes[i].version + ".apk"), file))
            std::abort();
    }
    if (!write_file(folder / "APKINDEX.tar.gz", make_index(text)) ||
        !make_folders(folder / "keys") ||
        !write_file(folder / ("keys/" + key_name), signer().public_pem()))
        std::abort();
}

} // namespace muster::apk::test

#include "hub/hasher.h"

#include <dlfcn.h>
#include <openssl/evp.h>

#include <array>

#include <fmt/format.h>

#include "base/check.h"

namespace brimful::hub {
namespace {

/// The functions of libcrypto that are called here.
struct Crypto {
  decltype(&::EVP_MD_CTX_new) create = nullptr;
  decltype(&::EVP_MD_CTX_free) free = nullptr;
  decltype(&::EVP_MD_CTX_copy_ex) copy = nullptr;
  decltype(&::EVP_sha256) sha256 = nullptr;
  decltype(&::EVP_sha1) sha1 = nullptr;
  decltype(&::EVP_DigestInit_ex) init = nullptr;
  decltype(&::EVP_DigestUpdate) update = nullptr;
  decltype(&::EVP_DigestFinal_ex) final = nullptr;
  bool complete = false;
};

Crypto load() {
  Crypto out;
  void* library = nullptr;  // The library is never closed.
  for (const char* name : {"libcrypto.so.3", "libcrypto.so.1.1"}) {
    if (library == nullptr) library = ::dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  }
  if (library == nullptr) return out;
  const auto find = [library](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    return function != nullptr;
  };
  out.complete = find("EVP_MD_CTX_new", out.create) && find("EVP_MD_CTX_free", out.free) &&
                 find("EVP_MD_CTX_copy_ex", out.copy) && find("EVP_sha256", out.sha256) &&
                 find("EVP_sha1", out.sha1) && find("EVP_DigestInit_ex", out.init) &&
                 find("EVP_DigestUpdate", out.update) && find("EVP_DigestFinal_ex", out.final);
  return out;
}

const Crypto& crypto() {
  static const Crypto loaded = load();
  return loaded;
}

EVP_MD_CTX* of(void* context) { return static_cast<EVP_MD_CTX*>(context); }

void free_context(void* context) { crypto().free(of(context)); }

}  // namespace

Result<Hasher> Hasher::start(Kind kind) {
  if (!crypto().complete) {
    return fail(ErrorCode::kUnsupported,
                "downloads are checked with OpenSSL's libcrypto, which cannot be loaded: install it (Debian: "
                "libssl3)");
  }
  Context context(crypto().create(), &free_context);
  const EVP_MD* const algorithm = kind == Kind::kSha256 ? crypto().sha256() : crypto().sha1();
  if (!context || crypto().init(of(context.get()), algorithm, nullptr) != 1)
    return fail(ErrorCode::kInternal, "libcrypto cannot start a hash");
  return Hasher(std::move(context));
}

void Hasher::add(std::span<const std::byte> bytes) {
  BRIMFUL_CHECK(crypto().update(of(context_.get()), bytes.data(), bytes.size()) == 1);
}

Hasher Hasher::copy() const {
  Context context(crypto().create(), &free_context);
  BRIMFUL_CHECK(context && crypto().copy(of(context.get()), of(context_.get())) == 1);
  return Hasher(std::move(context));
}

std::string Hasher::hex() const {
  const Hasher last = copy();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  BRIMFUL_CHECK(crypto().final(of(last.context_.get()), digest.data(), &size) == 1);
  std::string out;
  for (unsigned int i = 0; i < size; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

}  // namespace brimful::hub

#include "foreign/unwinding.h"

#include <unwind.h>

#include <cstdint>
#include <cstring>
#include <optional>

namespace brimful::foreign {
namespace {

/// Reads the "language-specific data" of a function, in the form that GCC and Clang share: a header, and then
/// a table of the calls in the function that may throw.
class CallTable {
 public:
  explicit CallTable(const void* data) : at_(static_cast<const std::uint8_t*>(data)) {}

  /// Whether an exception may leave the call at `offset`, counted from the beginning of the function. A call
  /// without an entry must not throw. Nothing when the table cannot be read.
  std::optional<bool> lets_through(std::uint64_t offset) {
    if (const std::uint8_t base = *at_++; base != kOmitted && !value(base)) return std::nullopt;
    if (const std::uint8_t types = *at_++; types != kOmitted) (void)unsigned_leb128();
    const std::uint8_t encoding = *at_++;
    const std::uint64_t size = unsigned_leb128();
    const std::uint8_t* const end = at_ + size;
    while (at_ < end) {
      const auto begin = value(encoding);
      const auto length = value(encoding);
      if (!begin || !length || !value(encoding)) return std::nullopt;
      (void)unsigned_leb128();            // the action for the exception
      if (offset < *begin) return false;  // the entries are in order
      if (offset < *begin + *length) return true;
    }
    return false;
  }

 private:
  static constexpr std::uint8_t kOmitted = 0xff;

  std::uint64_t unsigned_leb128() {
    std::uint64_t out = 0;
    for (unsigned shift = 0;; shift += 7) {
      const std::uint8_t byte = *at_++;
      if (shift < 64) out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return out;
    }
  }

  template <typename Number>
  std::uint64_t number() {
    Number out{};
    std::memcpy(&out, at_, sizeof out);
    at_ += sizeof out;
    return out;
  }

  /// Reads a value in one of DWARF's encodings (DW_EH_PE_*). Its low bits are the format.
  std::optional<std::uint64_t> value(std::uint8_t encoding) {
    switch (encoding & 0x0f) {
      case 0x00: return number<std::uintptr_t>();
      case 0x01: return unsigned_leb128();
      case 0x02:
      case 0x0a: return number<std::uint16_t>();
      case 0x03:
      case 0x0b: return number<std::uint32_t>();
      case 0x04:
      case 0x0c: return number<std::uint64_t>();
      default: return std::nullopt;
    }
  }

  const std::uint8_t* at_;
};

/// The state of a walk over the frames, from the inner to the outer ones, up to the address `end`.
struct Walk {
  std::uintptr_t end = 0;
  bool is_free = true;
};

_Unwind_Reason_Code look(_Unwind_Context* context, void* argument) {
  Walk& walk = *static_cast<Walk*>(argument);
  if (_Unwind_GetCFA(context) > walk.end) return _URC_END_OF_STACK;
  const void* const data = reinterpret_cast<const void*>(_Unwind_GetLanguageSpecificData(context));
  if (data == nullptr) return _URC_NO_REASON;  // this function cleans up nothing, and forbids nothing
  int is_exact = 0;
  std::uintptr_t place = _Unwind_GetIPInfo(context, &is_exact);
  if (is_exact == 0) --place;  // the place is the return address
  const auto lets_through = CallTable(data).lets_through(place - _Unwind_GetRegionStart(context));
  walk.is_free = lets_through.value_or(true);
  return walk.is_free ? _URC_NO_REASON : _URC_END_OF_STACK;
}

}  // namespace

bool can_unwind_to(const void* frame) {
  Walk walk{.end = reinterpret_cast<std::uintptr_t>(frame)};
  _Unwind_Backtrace(look, &walk);
  return walk.is_free;
}

}  // namespace brimful::foreign

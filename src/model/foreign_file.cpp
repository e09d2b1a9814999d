#include "model/foreign_file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>

namespace brimful::model {
namespace {

struct Magic {
  std::string_view bytes;
  std::string_view message;
};

using namespace std::string_view_literals;

constexpr std::string_view kPyTorch =
    "this is a PyTorch checkpoint or another zip archive: unpack it, or convert the model with llama.cpp's "
    "convert_hf_to_gguf.py";
constexpr std::string_view kPickle =
    "this is a pickled PyTorch checkpoint: convert the model with llama.cpp's convert_hf_to_gguf.py";
constexpr std::string_view kOldGgml =
    "this is a GGML file of before August 2023: fetch the model again as GGUF";
constexpr std::string_view kPacked = "this is a compressed archive: unpack it first";
constexpr std::string_view kSafetensors =
    "this is a safetensors file: convert the model's folder with llama.cpp's convert_hf_to_gguf.py";
constexpr std::string_view kWebPage =
    "this is a web page, not the file that it shows: download the file itself (at Hugging Face the address "
    "has "
    "/resolve/ in it, not /blob/)";
constexpr std::string_view kJson =
    "this is JSON text, such as a server's error message or a model's configuration: fetch the .gguf file "
    "itself";
constexpr std::string_view kZeros =
    "the file begins with zeros: its download has reserved the space and is not complete";

constexpr std::array kMagics{
    Magic{"version https://git-lfs.github.com/spec/"sv,
          "this is a git-lfs pointer, a text that stands for the model: fetch the model itself with 'git lfs "
          "pull'"},
    Magic{"PK\x03\x04"sv, kPyTorch},
    Magic{"\x80\x02"sv, kPickle},
    Magic{"\x80\x03"sv, kPickle},
    Magic{"\x80\x04"sv, kPickle},
    Magic{"lmgg"sv, kOldGgml},
    Magic{"fmgg"sv, kOldGgml},
    Magic{"tjgg"sv, kOldGgml},
    Magic{"algg"sv, "this is a LoRA adapter of before GGUF: fetch or convert it again as GGUF"},
    Magic{"\x1F\x8B"sv, kPacked},
    Magic{"\xFD"
          "7zXZ\0"sv,
          kPacked},
    Magic{"\x28\xB5\x2F\xFD"sv, kPacked},
    Magic{"BZh"sv, kPacked},
    Magic{"7z\xBC\xAF\x27\x1C"sv, kPacked},
    Magic{"Rar!\x1A\x07"sv, kPacked},
    Magic{"\x89HDF\r\n\x1A\n"sv, "this is a HDF5 file, as Keras writes them: fetch the model as GGUF"},
};

std::string_view without_leading_space(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

bool begins_with(std::string_view text, std::string_view lower_case) {
  return text.size() >= lower_case.size() &&
         std::ranges::equal(text.substr(0, lower_case.size()), lower_case, [](unsigned char a, char b) {
           return std::tolower(a) == static_cast<unsigned char>(b);
         });
}

/// A safetensors file begins with the length of its JSON header, 8 bytes in little-endian order.
bool is_safetensors(std::string_view bytes) {
  constexpr std::uint64_t kLongestHeader = 100'000'000;  // The limit of the format's own library.
  std::uint64_t length = 0;
  if (bytes.size() <= sizeof length || bytes[sizeof length] != '{') return false;
  std::memcpy(&length, bytes.data(), sizeof length);
  return length >= 2 && length <= kLongestHeader;
}

}  // namespace

std::string_view foreign_file(std::span<const std::byte> beginning) {
  const std::string_view bytes(reinterpret_cast<const char*>(beginning.data()), beginning.size());
  for (const Magic& magic : kMagics) {
    if (bytes.starts_with(magic.bytes)) return magic.message;
  }
  if (is_safetensors(bytes)) return kSafetensors;
  const std::string_view text = without_leading_space(bytes);
  for (const std::string_view tag : {"<!doctype html", "<html", "<head", "<?xml"}) {
    if (begins_with(text, tag)) return kWebPage;
  }
  if (text.starts_with('{') || text.starts_with('[')) return kJson;
  if (bytes.size() >= 16 && std::ranges::all_of(bytes, [](char c) { return c == 0; })) return kZeros;
  return {};
}

}  // namespace brimful::model

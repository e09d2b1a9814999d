#include "tensors.h"

#include <dlfcn.h>
#include <elf.h>
#include <ggml.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace stand_in {
namespace {

constexpr const char* kWatched = "ggml_is_empty";

decltype(&ggml_is_empty) is_empty = nullptr;
decltype(&ggml_nbytes) bytes_of = nullptr;

struct Seen {
  std::unordered_map<std::uint64_t, Extent> tensors;
  std::optional<Choices> choices;
  bool is_new = false;
};
Seen& seen() {
  thread_local auto* const it = new Seen;  // of this thread, and never destroyed: ggml may still compute
  return *it;
}

void note(const ggml_tensor* tensor) {
  if (tensor != nullptr && tensor->data != nullptr)
    seen().tensors[reinterpret_cast<std::uint64_t>(tensor->data)] = {bytes_of(tensor), tensor->ne[2],
                                                                     tensor->nb[2]};
}

bool watched_is_empty(const ggml_tensor* node) {
  note(node);
  for (const ggml_tensor* source : node->src) note(source);
  seen().choices.reset();
  if (node->op == GGML_OP_MUL_MAT_ID) {
    const ggml_tensor& ids = *node->src[2];
    seen().choices = Choices{reinterpret_cast<std::uint64_t>(ids.data), ids.ne[0], ids.ne[1], ids.nb[1],
                             node->src[0]->ne[2]};
    seen().is_new = true;
  }
  return is_empty(node);
}

/// Replaces the address in the table of what the plug-in calls.
void replace(void** place) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto* const begin = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(place) / page * page);
  ::mprotect(begin, 2 * page, PROT_READ | PROT_WRITE);
  *place = reinterpret_cast<void*>(&watched_is_empty);
}

template <typename Value>
Value* pointer(const dl_phdr_info& object, const ElfW(Dyn) * entry) {
  const auto value = entry->d_un.d_ptr;
  return reinterpret_cast<Value*>(value < object.dlpi_addr ? object.dlpi_addr + value : value);
}

int watch(const dl_phdr_info& object) {
  const ElfW(Dyn)* dynamic = nullptr;
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    if (object.dlpi_phdr[i].p_type == PT_DYNAMIC)
      dynamic = reinterpret_cast<const ElfW(Dyn)*>(object.dlpi_addr + object.dlpi_phdr[i].p_vaddr);
  }
  const ElfW(Sym)* symbols = nullptr;
  const char* names = nullptr;
  struct {
    const ElfW(Rela) * begin = nullptr;
    std::size_t bytes = 0;
  } tables[2];
  for (const ElfW(Dyn)* entry = dynamic; entry != nullptr && entry->d_tag != DT_NULL; ++entry) {
    switch (entry->d_tag) {
      case DT_SYMTAB: symbols = pointer<const ElfW(Sym)>(object, entry); break;
      case DT_STRTAB: names = pointer<const char>(object, entry); break;
      case DT_JMPREL: tables[0].begin = pointer<const ElfW(Rela)>(object, entry); break;
      case DT_PLTRELSZ: tables[0].bytes = entry->d_un.d_val; break;
      case DT_RELA: tables[1].begin = pointer<const ElfW(Rela)>(object, entry); break;
      case DT_RELASZ: tables[1].bytes = entry->d_un.d_val; break;
      default: break;
    }
  }
  int replaced = 0;
  for (const auto& table : tables) {
    for (std::size_t i = 0; table.begin != nullptr && i < table.bytes / sizeof(ElfW(Rela)); ++i) {
      const ElfW(Rela)& entry = table.begin[i];
      const auto symbol = ELF64_R_SYM(entry.r_info);
      if (symbol == 0 || std::strcmp(names + symbols[symbol].st_name, kWatched) != 0) continue;
      replace(reinterpret_cast<void**>(object.dlpi_addr + entry.r_offset));
      ++replaced;
    }
  }
  return replaced;
}

}  // namespace

std::optional<Extent> tensor_at(std::uint64_t address) {
  const auto found = seen().tensors.find(address);
  return found != seen().tensors.end() ? std::optional(found->second) : std::nullopt;
}

std::optional<Choices> choices_of_node() { return seen().choices; }

std::optional<Choices> choices_of_new_node() {
  return std::exchange(seen().is_new, false) ? seen().choices : std::nullopt;
}

void watch_plug_in() {
  is_empty = reinterpret_cast<decltype(is_empty)>(::dlsym(RTLD_DEFAULT, kWatched));
  bytes_of = reinterpret_cast<decltype(bytes_of)>(::dlsym(RTLD_DEFAULT, "ggml_nbytes"));
  int replaced = 0;
  if (is_empty != nullptr && bytes_of != nullptr) {
    ::dl_iterate_phdr(
        [](dl_phdr_info* object, std::size_t, void* count) {
          if (std::strstr(object->dlpi_name, "libggml-cuda") != nullptr)
            *static_cast<int*>(count) += watch(*object);
          return 0;
        },
        &replaced);
  }
  if (replaced > 0) return;
  std::fprintf(stderr, "the stand-in for CUDA: the plug-in's calls of %s cannot be watched\n", kWatched);
  std::_Exit(72);
}

}  // namespace stand_in

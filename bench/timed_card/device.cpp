// The timed card as a plug-in of ggml: brimful and brimful-llama-peer load it as they load CUDA's.
// BRIMFUL_TIMED_CARD describes the card (card.h).

#include <ggml-backend-impl.h>
#include <ggml-impl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "card.h"
#include "costs.h"
#include "results.h"
#include "timeline.h"

namespace brimful::timed_card {
namespace {

constexpr std::size_t kStaged = std::size_t{64} << 10;  // CUDA does not let a thread wait for smaller copies
constexpr std::size_t kAlignment = 128;

/// What the card has done, for the report.
struct Account {
  std::uint64_t graphs = 0;
  std::uint64_t launched_singly = 0;  // graphs that were not recorded, so that each kernel is launched
  std::uint64_t kernels = 0;
  std::uint64_t copies_to_card = 0;
  std::uint64_t bytes_to_card = 0;
  std::uint64_t copies_to_host = 0;
  std::uint64_t bytes_to_host = 0;
  std::uint64_t blocking_copies = 0;
  std::uint64_t used = 0;
  std::uint64_t peak = 0;
};

/// Memory of the host that copies can leave from, by its beginning.
class Pinned {
 public:
  bool add(void* memory, std::size_t size) {
    const std::scoped_lock lock(mutex_);
    return sizes_.emplace(static_cast<std::byte*>(memory), size).second;
  }
  void remove(void* memory) {
    const std::scoped_lock lock(mutex_);
    sizes_.erase(static_cast<std::byte*>(memory));
  }
  [[nodiscard]] bool holds(const void* memory) const {
    const std::scoped_lock lock(mutex_);
    auto after = sizes_.upper_bound(static_cast<std::byte*>(const_cast<void*>(memory)));
    if (after == sizes_.begin()) return false;
    --after;
    return static_cast<const std::byte*>(memory) < after->first + after->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::byte*, std::size_t> sizes_;
};

/// The one card of the process. It is never destroyed: programs may release its tensors after everything
/// else.
struct Device {
  Card card;
  Timeline time{card};
  Results results{card.computes};
  Pinned pinned;
  std::mutex mutex;  // guards `account`
  Account account;
  Timeline::Stream default_stream;  // The stream of copies that name none.
  ggml_backend_device handle{};
  ggml_backend_reg reg{};
  ggml_backend_buffer_type memory{};
  ggml_backend_buffer_type host_memory{};

  explicit Device(Card described) : card(std::move(described)) {}
  void write_report();
};

Device* device = nullptr;

/// One stream, and the graph that was computed last in it.
struct Queue {
  Timeline::Stream stream;
  std::map<const void*, std::uint64_t> shapes;  // of the graphs by their first node, as CUDA knows them
};

Queue& of(ggml_backend_t backend) { return *static_cast<Queue*>(backend->context); }
std::byte* at(const ggml_tensor* tensor, std::size_t offset) {
  return static_cast<std::byte*>(tensor->data) + offset;
}

void Device::write_report() {
  if (card.report.empty()) return;
  const Timeline::Sums sums = time.sums();
  std::ofstream out(card.report);
  out << "{\"graphs\": " << account.graphs << ", \"launched_singly\": " << account.launched_singly
      << ", \"kernels\": " << account.kernels << ", \"copies_to_card\": " << account.copies_to_card
      << ", \"bytes_to_card\": " << account.bytes_to_card
      << ", \"copies_to_host\": " << account.copies_to_host
      << ", \"bytes_to_host\": " << account.bytes_to_host
      << ", \"blocking_copies\": " << account.blocking_copies << ", \"peak_bytes\": " << account.peak
      << ", \"waits\": " << sums.waits << ", \"waited_seconds\": " << sums.waited
      << ", \"compute_seconds\": " << sums.compute << ", \"link_seconds\": " << sums.link << "}\n";
}

// Copies. The bytes arrive at once, and the time passes afterwards: nobody may read them before it has.

Time to_card(Timeline::Stream& stream, ggml_tensor* tensor, const void* data, std::size_t offset,
             std::size_t size, bool pinned) {
  const Time asked = Clock::now();
  if (device->results.keeps(*tensor, size)) std::memcpy(at(tensor, offset), data, size);
  device->results.written(*tensor);
  const std::scoped_lock lock(device->mutex);
  ++device->account.copies_to_card;
  device->account.bytes_to_card += size;
  return device->time.copy(stream, Timeline::Part::kToCard, size, pinned, asked);
}

Time to_host(Timeline::Stream& stream, const ggml_tensor* tensor, void* data, std::size_t offset,
             std::size_t size, bool pinned) {
  const Time asked = Clock::now();
  std::memcpy(data, at(tensor, offset), size);
  const std::scoped_lock lock(device->mutex);
  ++device->account.copies_to_host;
  device->account.bytes_to_host += size;
  return device->time.copy(stream, Timeline::Part::kToHost, size, pinned, asked);
}

/// CUDA's copies from and to memory that is not pinned go through memory of the driver, and the thread waits
/// for that.
void wait_unless_pinned(Time end, bool pinned, std::size_t size) {
  if (pinned || size <= kStaged) return;
  {
    const std::scoped_lock lock(device->mutex);
    ++device->account.blocking_copies;
  }
  device->time.wait_until(end);
}

void set_tensor(ggml_backend_buffer_t, ggml_tensor* tensor, const void* data, std::size_t offset,
                std::size_t size) {
  device->time.wait_until(
      to_card(device->default_stream, tensor, data, offset, size, device->pinned.holds(data)));
}

void get_tensor(ggml_backend_buffer_t, const ggml_tensor* tensor, void* data, std::size_t offset,
                std::size_t size) {
  device->time.wait_until(
      to_host(device->default_stream, tensor, data, offset, size, device->pinned.holds(data)));
}

void set_tensor_async(ggml_backend_t backend, ggml_tensor* tensor, const void* data, std::size_t offset,
                      std::size_t size) {
  const bool pinned = device->pinned.holds(data);
  wait_unless_pinned(to_card(of(backend).stream, tensor, data, offset, size, pinned), pinned, size);
}

void get_tensor_async(ggml_backend_t backend, const ggml_tensor* tensor, void* data, std::size_t offset,
                      std::size_t size) {
  const bool pinned = device->pinned.holds(data);
  wait_unless_pinned(to_host(of(backend).stream, tensor, data, offset, size, pinned), pinned, size);
}

bool on_card(const ggml_tensor* tensor) {
  const ggml_tensor* const root = tensor->view_src != nullptr ? tensor->view_src : tensor;
  return root->buffer != nullptr && root->buffer->buft == &device->memory;
}

/// From tensor to tensor of the card: reads and writes of its own memory.
void copy_within(Timeline::Stream& stream, const ggml_tensor* from, ggml_tensor* to) {
  const Time asked = Clock::now();
  if (device->results.keeps(*to, ggml_nbytes(to))) std::memmove(to->data, from->data, ggml_nbytes(from));
  device->results.copied(*from, *to);
  const double seconds =
      device->card.launch + 2 * static_cast<double>(ggml_nbytes(from)) / device->card.memory_rate;
  device->time.enter(stream, Timeline::Part::kCompute, seconds, asked);
}

bool copy_tensor(ggml_backend_buffer_t, const ggml_tensor* from, ggml_tensor* to) {
  if (!on_card(from)) return false;
  copy_within(device->default_stream, from, to);
  device->time.wait_until(device->time.end(device->default_stream));
  return true;
}

bool copy_tensor_async(ggml_backend_t from_backend, ggml_backend_t to_backend, const ggml_tensor* from,
                       ggml_tensor* to) {
  if (from_backend->device != &device->handle || to_backend->device != &device->handle || !on_card(from) ||
      !on_card(to))
    return false;
  device->time.hold(of(to_backend).stream, device->time.end(of(from_backend).stream));
  copy_within(of(to_backend).stream, from, to);
  return true;
}

// Memory. Pages that nobody writes take none of this machine's.

struct Pages {
  void* data;
  std::size_t size;
};

void free_memory(ggml_backend_buffer_t buffer) {
  auto* const pages = static_cast<Pages*>(buffer->context);
  munmap(pages->data, pages->size);
  delete pages;
  const std::scoped_lock lock(device->mutex);
  device->account.used -= buffer->size;
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, std::size_t size) {
  {
    const std::scoped_lock lock(device->mutex);
    Account& account = device->account;
    if (account.used + size > device->card.memory) return nullptr;
    account.used += size;
    account.peak = std::max(account.peak, account.used);
  }
  const std::size_t mapped = std::max<std::size_t>(size, 1);
  void* const data =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  ggml_backend_buffer_i calls{};
  calls.free_buffer = free_memory;
  calls.get_base = [](ggml_backend_buffer_t buffer) { return static_cast<Pages*>(buffer->context)->data; };
  calls.memset_tensor = [](ggml_backend_buffer_t, ggml_tensor* tensor, std::uint8_t value, std::size_t offset,
                           std::size_t bytes) {
    if (device->results.keeps(*tensor, bytes)) std::memset(at(tensor, offset), value, bytes);
  };
  calls.set_tensor = set_tensor;
  calls.get_tensor = get_tensor;
  calls.cpy_tensor = copy_tensor;
  calls.clear = [](ggml_backend_buffer_t buffer, std::uint8_t value) {
    auto* const pages = static_cast<Pages*>(buffer->context);
    if (value == 0) {
      madvise(pages->data, pages->size, MADV_DONTNEED);
    } else {
      std::memset(pages->data, value, pages->size);
    }
  };
  return ggml_backend_buffer_init(type, calls, new Pages{data, mapped}, size);
}

/// As CUDA's: memory of the host that is pinned from the beginning.
ggml_backend_buffer_t allocate_pinned(ggml_backend_buffer_type_t type, std::size_t size) {
  ggml_backend_buffer_t const buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
  if (buffer == nullptr) return nullptr;
  buffer->buft = type;
  device->pinned.add(ggml_backend_buffer_get_base(buffer), size);
  static void (*const free_host)(ggml_backend_buffer_t) = buffer->iface.free_buffer;
  buffer->iface.free_buffer = [](ggml_backend_buffer_t freed) {
    device->pinned.remove(ggml_backend_buffer_get_base(freed));
    free_host(freed);
  };
  return buffer;
}

// Graphs.

/// CUDA records a graph when it has seen it twice, and launches it again while its first node and all shapes
/// are the same.
bool is_recorded(Queue& queue, const ggml_cgraph& graph) {
  std::uint64_t shape = static_cast<std::uint64_t>(graph.n_nodes);
  for (int i = 0; i < graph.n_nodes; ++i) {
    for (const std::int64_t size : graph.nodes[i]->ne)
      shape = (shape ^ static_cast<std::uint64_t>(size)) * 0x100000001B3ULL;
  }
  std::uint64_t& known = queue.shapes[graph.nodes[0]];
  return std::exchange(known, shape) == shape;
}

ggml_status compute(ggml_backend_t backend, ggml_cgraph* graph) {
  const Time asked = Clock::now();
  if (graph->n_nodes == 0) return GGML_STATUS_SUCCESS;
  const ggml_status status = device->results.compute(*graph);
  if (status != GGML_STATUS_SUCCESS) return status;
  const bool recorded = is_recorded(of(backend), *graph);
  const Card& card = device->card;
  double seconds = card.launch;
  std::uint64_t kernels = 0;
  for (int i = 0; i < graph->n_nodes; ++i) {
    if (is_view(*graph->nodes[i])) continue;
    seconds += (recorded ? card.recorded_launch : card.launch) + seconds_for(*graph->nodes[i], card);
    ++kernels;
  }
  device->time.enter(of(backend).stream, Timeline::Part::kCompute, seconds, asked);
  const std::scoped_lock lock(device->mutex);
  ++device->account.graphs;
  device->account.kernels += kernels;
  if (!recorded) ++device->account.launched_singly;
  return GGML_STATUS_SUCCESS;
}

Time& of(ggml_backend_event_t event) { return *static_cast<Time*>(event->context); }

ggml_backend_t start(ggml_backend_dev_t handle, const char*) {
  static ggml_guid guid = {0x74, 0x69, 0x6d, 0x65, 0x64};
  auto* const backend = new ggml_backend{};
  backend->guid = &guid;
  ggml_backend_i& calls = backend->iface;
  calls.get_name = [](ggml_backend_t) { return "TIMED0"; };
  calls.free = [](ggml_backend_t freed) {
    delete &of(freed);
    delete freed;
  };
  calls.set_tensor_async = set_tensor_async;
  calls.get_tensor_async = get_tensor_async;
  calls.cpy_tensor_async = copy_tensor_async;
  calls.synchronize = [](ggml_backend_t waiting) {
    device->time.wait_until(device->time.end(of(waiting).stream));
  };
  calls.graph_compute = compute;
  calls.event_record = [](ggml_backend_t recording, ggml_backend_event_t event) {
    of(event) = device->time.end(of(recording).stream);
  };
  calls.event_wait = [](ggml_backend_t waiting, ggml_backend_event_t event) {
    device->time.hold(of(waiting).stream, of(event));
  };
  backend->device = handle;
  backend->context = new Queue;
  return backend;
}

// The device, as ggml asks for it.

void memory_of(ggml_backend_dev_t, std::size_t* free, std::size_t* total) {
  const std::scoped_lock lock(device->mutex);
  *total = device->card.memory;
  *free = *total - device->account.used;
}

void properties(ggml_backend_dev_t handle, ggml_backend_dev_props* out) {
  std::memset(out, 0, sizeof *out);
  out->name = "TIMED0";
  out->description = device->card.description.c_str();
  out->type = GGML_BACKEND_DEVICE_TYPE_GPU;
  out->caps.async = out->caps.host_buffer = out->caps.events = true;
  memory_of(handle, &out->memory_free, &out->memory_total);
}

bool supports(ggml_backend_dev_t, const ggml_tensor* node) {
  return ggml_backend_dev_supports_op(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), node);
}

/// As CUDA: from 32 tokens on, a product is computed here although its weights lie on the host.
bool offloads(ggml_backend_dev_t, const ggml_tensor* node) {
  constexpr std::int64_t kFewest = 32;
  switch (node->op) {
    case GGML_OP_GET_ROWS: return false;
    case GGML_OP_MUL_MAT: return node->ne[1] >= kFewest;
    case GGML_OP_MUL_MAT_ID:
    case GGML_OP_ROPE: return node->ne[2] >= kFewest;
    default: return ggml_nrows(node) >= kFewest;
  }
}

bool pin(void* memory, std::size_t size) { return device->pinned.add(memory, size); }
void unpin(void* memory) { device->pinned.remove(memory); }

void* address_of(ggml_backend_reg_t, const char* name) {
  if (std::strcmp(name, "ggml_backend_register_host_buffer") == 0) return reinterpret_cast<void*>(pin);
  if (std::strcmp(name, "ggml_backend_unregister_host_buffer") == 0) return reinterpret_cast<void*>(unpin);
  return nullptr;
}

std::size_t alignment(ggml_backend_buffer_type_t) { return kAlignment; }

void fill(Device& made) {
  ggml_backend_device_i& calls = made.handle.iface;
  calls.get_name = [](ggml_backend_dev_t) { return "TIMED0"; };
  calls.get_description = [](ggml_backend_dev_t) { return device->card.description.c_str(); };
  calls.get_memory = memory_of;
  calls.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; };
  calls.get_props = properties;
  calls.init_backend = start;
  calls.get_buffer_type = [](ggml_backend_dev_t) { return &device->memory; };
  calls.get_host_buffer_type = [](ggml_backend_dev_t) { return &device->host_memory; };
  calls.supports_op = supports;
  calls.supports_buft = [](ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
    return type == &device->memory;
  };
  calls.offload_op = offloads;
  calls.event_new = [](ggml_backend_dev_t handle) {
    return new ggml_backend_event{.device = handle, .context = new Time{}};
  };
  calls.event_free = [](ggml_backend_dev_t, ggml_backend_event_t event) {
    delete &of(event);
    delete event;
  };
  calls.event_synchronize = [](ggml_backend_dev_t, ggml_backend_event_t event) {
    device->time.wait_until(of(event));
  };
  made.handle.reg = &made.reg;
  made.memory.iface.get_name = [](ggml_backend_buffer_type_t) { return "TIMED0"; };
  made.memory.iface.alloc_buffer = allocate;
  made.memory.iface.get_alignment = alignment;
  made.memory.device = &made.handle;
  made.host_memory.iface = ggml_backend_cpu_buffer_type()->iface;
  made.host_memory.iface.get_name = [](ggml_backend_buffer_type_t) { return "TIMED_Host"; };
  made.host_memory.iface.alloc_buffer = allocate_pinned;
  made.host_memory.device = &made.handle;
  made.reg.api_version = GGML_BACKEND_API_VERSION;
  made.reg.iface.get_name = [](ggml_backend_reg_t) { return "TIMED"; };
  made.reg.iface.get_device_count = [](ggml_backend_reg_t) {
    return device != nullptr ? std::size_t{1} : std::size_t{0};
  };
  made.reg.iface.get_device = [](ggml_backend_reg_t, std::size_t) { return &device->handle; };
  made.reg.iface.get_proc_address = address_of;
}

}  // namespace
}  // namespace brimful::timed_card

extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init(void) {
  using namespace brimful::timed_card;
  if (device != nullptr) return &device->reg;
  const char* const text = std::getenv("BRIMFUL_TIMED_CARD");
  try {
    device = new Device(read_card(text != nullptr ? text : ""));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "timed card: %s\n", error.what());
    return nullptr;
  }
  fill(*device);
  std::atexit([] { device->write_report(); });
  return &device->reg;
}

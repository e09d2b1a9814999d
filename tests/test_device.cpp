#include "test_device.h"

#include <ggml-backend-impl.h>
#include <ggml-cpu.h>
#include <ggml-impl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

namespace brimful::tests {
namespace {

constexpr int kNaN = 0xFF;                      // a byte of which numbers of all formats are NaN
constexpr std::size_t kStagedCopy = 64 * 1024;  // CUDA stages smaller copies, and does not wait for them

std::mutex pinned_mutex;
std::map<void*, std::size_t> pinned_sizes;

constexpr std::uint64_t kPinnedPerByte = 512;  // page tables take an entry of 8 bytes for 4 KiB

bool overlaps_pinned(const void* memory, std::size_t size) {
  const std::scoped_lock lock(pinned_mutex);
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  return std::ranges::any_of(pinned_sizes, [&](const auto& pinned) {
    const auto at = reinterpret_cast<std::uintptr_t>(pinned.first);
    return begin < at + pinned.second && at < begin + size;
  });
}

/// The number of tokens of a product or of attention; 0 for other nodes.
std::int64_t tokens_of(const ggml_tensor& node) {
  switch (node.op) {
    case GGML_OP_MUL_MAT: return node.ne[1];
    case GGML_OP_MUL_MAT_ID: return node.ne[2];
    case GGML_OP_FLASH_ATTN_EXT: return node.src[0]->ne[1];
    default: return 0;
  }
}

/// Changes the last bit of each number of a result, as another order of a sum may.
void change_last_bits(const ggml_tensor& node) {
  for (std::int64_t row = 0; row < ggml_nrows(&node); ++row) {
    const std::int64_t at[] = {row % node.ne[1], row / node.ne[1] % node.ne[2],
                               row / node.ne[1] / node.ne[2]};
    auto* const values = reinterpret_cast<std::uint32_t*>(
        static_cast<char*>(node.data) + static_cast<std::size_t>(at[0]) * node.nb[1] +
        static_cast<std::size_t>(at[1]) * node.nb[2] + static_cast<std::size_t>(at[2]) * node.nb[3]);
    for (std::int64_t i = 0; i < node.ne[0]; ++i) values[i] ^= 1U;
  }
}

}  // namespace

bool TestDevice::changes_bits_of(const ggml_tensor& node) const {
  const std::int64_t tokens = tokens_of(node);
  return (options_.other_bits_from > 0 && tokens >= options_.other_bits_from) ||
         (options_.fuses && node.op == GGML_OP_GLU && node.ne[1] == 1);
}

Bytes TestDevice::pinned() {
  const std::scoped_lock lock(pinned_mutex);
  Bytes out;
  for (const auto& [memory, size] : pinned_sizes) out += Bytes{size};
  return out;
}

Bytes TestDevice::driver() const {
  return Bytes{options_.graph.value * static_cast<std::uint64_t>(graphs())} +
         Bytes{pinned().value / kPinnedPerByte};
}

std::set<std::int64_t> TestDevice::cells() const {
  const std::lock_guard lock(cells_mutex_);
  return cells_;
}

/// Pages that can be touched only as long as a Lock exists, which means that the device works.
class TestDevice::Memory {
 public:
  explicit Memory(std::size_t size)
      : size_(align_up(size + 4096, std::uint64_t{4096})),
        data_(::mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    const std::lock_guard lock(mutex());
    all().insert(this);
    if (open() > 0) ::mprotect(data_, size_, PROT_READ | PROT_WRITE);
  }
  ~Memory() {
    const std::lock_guard lock(mutex());
    all().erase(this);
    ::munmap(data_, size_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  [[nodiscard]] void* data() const { return data_; }

  class Lock {
   public:
    Lock() { change(1); }
    ~Lock() { change(-1); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
  };

 private:
  static std::mutex& mutex() {
    static std::mutex value;
    return value;
  }
  static std::set<Memory*>& all() {
    static std::set<Memory*> value;
    return value;
  }
  static int& open() {
    static int value = 0;
    return value;
  }
  static void change(int by) {
    const std::lock_guard lock(mutex());
    const bool was = open() > 0;
    open() += by;
    if (was == (open() > 0)) return;
    for (const Memory* memory : all())
      ::mprotect(memory->data_, memory->size_, open() > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
  }

  std::size_t size_;
  void* data_;
};

/// Accounts for the time of the device's work as long as it exists.
class TestDevice::Work {
 public:
  Work(const TestDevice& device, int& kind) : device_(device), kind_(kind) { change(1); }
  ~Work() { change(-1); }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

 private:
  void change(int by) {
    const std::lock_guard lock(device_.times_mutex_);
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> since = now - device_.changed_;
    if (device_.computing_ > 0) device_.times_.computing += since;
    if (device_.copying_ > 0) device_.times_.copying += since;
    if (device_.computing_ > 0 && device_.copying_ > 0) device_.times_.both += since;
    device_.changed_ = now;
    kind_ += by;
  }
  const TestDevice& device_;
  int& kind_;
};

TestDevice::Times TestDevice::times() const {
  const std::lock_guard lock(times_mutex_);
  return times_;
}

/// One stream: its work is done in order by a thread of its own.
class TestDevice::Queue {
 public:
  Queue(TestDevice& device) : device_(device), cpu_(ggml_backend_cpu_init()) {
    ggml_backend_cpu_set_n_threads(cpu_, device.options_.threads);
    thread_ = std::thread([this] { work(); });
  }
  ~Queue() {
    submit(nullptr);
    thread_.join();
    ggml_backend_free(cpu_);
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  TestDevice& device() { return device_; }
  ggml_backend_t cpu() { return cpu_; }

  /// Adds a task. An empty function ends the queue's thread.
  void submit(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }
  void synchronize() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tasks_.empty(); });
  }

 private:
  void work() {
    for (;;) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !tasks_.empty(); });
        task = tasks_.front();
      }
      if (!task) return;
      task();
      const std::lock_guard lock(mutex_);
      tasks_.pop_front();
      changed_.notify_all();
    }
  }

  TestDevice& device_;
  ggml_backend_t cpu_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::thread thread_;
};

namespace {

/// An event: a position in a queue.
class Event {
 public:
  void begin() { set(false); }
  void end() { set(true); }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
  }

 private:
  void set(bool done) {
    const std::lock_guard lock(mutex_);
    done_ = done;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = true;
};

}  // namespace

struct TestDeviceCalls {
  using Memory = TestDevice::Memory;
  using Queue = TestDevice::Queue;

  static TestDevice& of(ggml_backend_dev_t dev) { return *static_cast<TestDevice*>(dev->context); }
  static TestDevice& of(ggml_backend_buffer_t buffer) {
    return *static_cast<TestDevice*>(buffer->buft->context);
  }
  static Queue& of(ggml_backend_t backend) { return *static_cast<Queue*>(backend->context); }
  static std::byte* at(const ggml_tensor* tensor, size_t offset) {
    return static_cast<std::byte*>(tensor->data) + offset;
  }

  // buffers
  static void free_buffer(ggml_backend_buffer_t buffer) {
    of(buffer).used_ -= buffer->size;
    delete static_cast<Memory*>(buffer->context);
  }
  static void* get_base(ggml_backend_buffer_t buffer) {
    return static_cast<Memory*>(buffer->context)->data();
  }
  static void memset_tensor(ggml_backend_buffer_t, ggml_tensor* t, uint8_t value, size_t offset,
                            size_t size) {
    const Memory::Lock lock;
    std::memset(at(t, offset), value, size);
  }
  static void send(TestDevice& device, std::byte* to, const void* from, size_t size) {
    if (device.copies_++ == device.options_.fail_copy) device.broken_ = true;
    if (device.broken_) return;
    const Memory::Lock lock;
    const TestDevice::Work work(device, device.copying_);
    std::memcpy(to, from, size);
    device.received_ += size;
    device.copied(Bytes{size});
  }
  static void fetch(TestDevice& device, void* to, const std::byte* from, size_t size) {
    EXPECT_FALSE(overlaps_pinned(to, size)) << "what ggml pins, a device may only read";
    const Memory::Lock lock;
    const TestDevice::Work work(device, device.copying_);
    std::memcpy(to, from, size);
    device.given_ += size;
    device.copied(Bytes{size});
  }
  /// A copy that a queue does. The driver reads memory that is not pinned by itself, and the thread waits for
  /// that.
  static void queue_copy(Queue& queue, const void* memory, std::size_t size, std::function<void()> copy) {
    DeviceContract::check_chosen();
    queue.submit(std::move(copy));
    if (size <= kStagedCopy || overlaps_pinned(memory, size)) return;
    ++queue.device().blocking_copies_;
    queue.synchronize();
  }
  static void set_tensor(ggml_backend_buffer_t buffer, ggml_tensor* t, const void* data, size_t offset,
                         size_t size) {
    of(buffer).contract_.chosen();
    if (size > kStagedCopy) ++of(buffer).blocking_copies_;
    send(of(buffer), at(t, offset), data, size);
  }
  static void get_tensor(ggml_backend_buffer_t buffer, const ggml_tensor* t, void* data, size_t offset,
                         size_t size) {
    of(buffer).contract_.chosen();
    of(buffer).contract_.check_read(at(t, offset), size);
    fetch(of(buffer), data, at(t, offset), size);
  }
  static void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    const Memory::Lock lock;
    std::memset(get_base(buffer), value, buffer->size);
  }
  static ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    auto& device = *static_cast<TestDevice*>(type->context);
    if (device.allocations_++ == device.options_.fail_allocation || !device.claim(size)) return nullptr;
    ggml_backend_buffer_i iface{};
    iface.free_buffer = free_buffer;
    iface.get_base = get_base;
    iface.init_tensor = [](ggml_backend_buffer_t, ggml_tensor* t) {
      if (t->view_src == nullptr && ggml_is_quantized(t->type)) {
        const Memory::Lock lock;
        const std::size_t bytes = ggml_nbytes(t);
        std::memset(at(t, bytes), 0, DeviceContract::alloc_size(*t) - bytes);
      }
      return GGML_STATUS_SUCCESS;
    };
    iface.memset_tensor = memset_tensor;
    iface.set_tensor = set_tensor;
    iface.get_tensor = get_tensor;
    iface.clear = clear;
    device.contract_.chosen();
    ++device.touched_;
    auto* const memory = new Memory(size);
    {
      const Memory::Lock lock;
      std::memset(memory->data(), kNaN, size);  // what nobody has written is no number
    }
    return ggml_backend_buffer_init(type, iface, memory, size);
  }

  // Streams. A tensor may be gone when its copy is done.
  static void set_async(ggml_backend_t backend, ggml_tensor* t, const void* data, size_t offset,
                        size_t size) {
    queue_copy(of(backend), data, size, [&device = of(backend).device(), to = at(t, offset), data, size] {
      send(device, to, data, size);
    });
  }
  static void get_async(ggml_backend_t backend, const ggml_tensor* t, void* data, size_t offset,
                        size_t size) {
    queue_copy(of(backend), data, size, [&device = of(backend).device(), data, from = at(t, offset), size] {
      fetch(device, data, from, size);
    });
  }
  static ggml_status compute(ggml_backend_t backend, ggml_cgraph* graph) {
    TestDevice& device = of(backend).device();
    of(backend).synchronize();  // This waits for earlier copies.
    if (device.broken_) return GGML_STATUS_FAILED;
    if (device.graphs_++ == device.options_.fail_graph) return GGML_STATUS_FAILED;
    device.contract_.chosen();
    device.contract_.queued(*graph);
    device.without_uid_ += graph->uid == 0 ? 1 : 0;
    of(backend).submit([backend, graph] {
      const Memory::Lock lock;
      const TestDevice::Work work(of(backend).device(), of(backend).device().computing_);
      int done = 0;
      const auto compute_until = [&](int end) {
        ggml_cgraph part = ggml_graph_view(graph, done, end);
        if (end > done) ggml_backend_graph_compute(of(backend).cpu(), &part);
        done = end;
      };
      for (int n = 0; n < graph->n_nodes; ++n) {
        // The nodes before may compute what is checked of a product with experts.
        if (graph->nodes[n]->op == GGML_OP_MUL_MAT_ID) compute_until(n);
        DeviceContract::check(*graph->nodes[n]);
        if (!of(backend).device().changes_bits_of(*graph->nodes[n])) continue;
        compute_until(n + 1);
        change_last_bits(*graph->nodes[n]);
      }
      compute_until(graph->n_nodes);
      of(backend).device().contract_.computed(*graph);
    });
    device.nodes_ += static_cast<std::uint64_t>(graph->n_nodes);
    for (int n = 0; n < graph->n_nodes; ++n) {
      const ggml_tensor* const node = graph->nodes[n];
      if (node->op != GGML_OP_FLASH_ATTN_EXT) continue;
      const std::lock_guard lock(device.cells_mutex_);
      device.cells_.insert(node->src[1]->ne[1]);
    }
    return GGML_STATUS_SUCCESS;
  }
  static Event& of(ggml_backend_event_t event) { return *static_cast<Event*>(event->context); }
  static void record(ggml_backend_t backend, ggml_backend_event_t event) {
    of(event).begin();
    of(backend).submit([event] { of(event).end(); });
  }
  static ggml_backend_event_t new_event(ggml_backend_dev_t dev) {
    return new ggml_backend_event{.device = dev, .context = new Event};
  }
  static void free_event(ggml_backend_dev_t, ggml_backend_event_t event) {
    delete &of(event);
    delete event;
  }
  static bool pin(void* memory, std::size_t size) {
    const std::scoped_lock lock(pinned_mutex);
    return pinned_sizes.emplace(memory, size).second;
  }
  static void unpin(void* memory) {
    const std::scoped_lock lock(pinned_mutex);
    ASSERT_EQ(pinned_sizes.erase(memory), 1U) << "it was not pinned";
  }
  static void* proc_address(ggml_backend_reg_t reg, const char* name) {
    if (!static_cast<TestDevice*>(reg->context)->options_.pins) return nullptr;
    if (std::strcmp(name, "ggml_backend_register_host_buffer") == 0) return reinterpret_cast<void*>(pin);
    if (std::strcmp(name, "ggml_backend_unregister_host_buffer") == 0) return reinterpret_cast<void*>(unpin);
    return nullptr;
  }
  static ggml_backend_t init(ggml_backend_dev_t dev, const char*) {
    static ggml_guid guid = {0x74, 0x65, 0x73, 0x74};
    of(dev).contract_.chosen();
    ++of(dev).touched_;
    auto* const backend = new ggml_backend{};
    backend->guid = &guid;
    backend->iface.get_name = [](ggml_backend_t b) { return of(b->device).options_.name; };
    backend->iface.free = [](ggml_backend_t b) {
      delete &of(b);
      delete b;
    };
    backend->iface.set_tensor_async = set_async;
    backend->iface.get_tensor_async = get_async;
    backend->iface.synchronize = [](ggml_backend_t b) {
      ++of(b).device().waits_;
      of(b).synchronize();
    };
    backend->iface.graph_compute = compute;
    backend->iface.event_record = record;
    backend->iface.graph_optimize = [](ggml_backend_t b, ggml_cgraph*, ggml_backend_graph_optimize_params*) {
      ++of(b).device().optimized_;
    };
    backend->device = dev;
    backend->context = new Queue(of(dev));
    return backend;
  }

  // device
  static void memory_info(ggml_backend_dev_t dev, size_t* free, size_t* total) {
    of(dev).contract_.chosen();
    ++of(dev).touched_;
    *total = of(dev).options_.capacity.value;
    *free = *total - of(dev).used_;
  }
  static void props(ggml_backend_dev_t dev, ggml_backend_dev_props* out) {
    std::memset(out, 0, sizeof *out);
    out->name = of(dev).options_.name;
    out->description = of(dev).options_.description;
    out->device_id = of(dev).options_.address;
    out->type = GGML_BACKEND_DEVICE_TYPE_GPU;
    out->caps.async = true;
    out->caps.events = of(dev).options_.events;
    memory_info(dev, &out->memory_free, &out->memory_total);
  }
  static bool supports_op(ggml_backend_dev_t, const ggml_tensor* op) {
    return ggml_backend_dev_supports_op(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), op);
  }

  static void fill(TestDevice& device) {
    ggml_backend_device_i& iface = device.device_->iface;
    iface.get_name = [](ggml_backend_dev_t dev) { return of(dev).options_.name; };
    iface.get_description = [](ggml_backend_dev_t dev) { return of(dev).options_.description; };
    iface.get_memory = memory_info;
    iface.get_type = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; };
    iface.get_props = props;
    iface.init_backend = init;
    iface.event_new = new_event;
    iface.event_free = free_event;
    iface.event_synchronize = [](ggml_backend_dev_t, ggml_backend_event_t event) { of(event).wait(); };
    iface.get_buffer_type = [](ggml_backend_dev_t dev) { return of(dev).type_.get(); };
    iface.get_host_buffer_type = [](ggml_backend_dev_t dev) -> ggml_backend_buffer_type_t {
      return of(dev).options_.has_pinned ? ggml_backend_cpu_buffer_type() : nullptr;
    };
    iface.supports_op = supports_op;
    iface.supports_buft = [](ggml_backend_dev_t dev, ggml_backend_buffer_type_t type) {
      return type == of(dev).type_.get();
    };
    device.reg_->api_version = GGML_BACKEND_API_VERSION;
    device.reg_->iface.get_name = [](ggml_backend_reg_t) { return "TEST"; };
    device.reg_->iface.get_device_count = [](ggml_backend_reg_t) { return size_t{1}; };
    device.reg_->iface.get_proc_address = proc_address;
    device.reg_->iface.get_device = [](ggml_backend_reg_t reg, size_t) {
      return static_cast<TestDevice*>(reg->context)->device_.get();
    };
    device.reg_->context = &device;
    device.device_->reg = device.reg_.get();
    device.device_->context = &device;
    ggml_backend_buffer_type_i& type = device.type_->iface;
    type.get_name = [](ggml_backend_buffer_type_t t) {
      return static_cast<TestDevice*>(t->context)->options_.name;
    };
    type.alloc_buffer = alloc_buffer;
    type.get_alloc_size = [](ggml_backend_buffer_type_t, const ggml_tensor* t) {
      return DeviceContract::alloc_size(*t);
    };
    type.get_alignment = [](ggml_backend_buffer_type_t) { return size_t{128}; };
    device.type_->device = device.device_.get();
    device.type_->context = &device;
  }
};

TestDevice::TestDevice(const Options& options)
    : options_(options),
      device_(std::make_unique<ggml_backend_device>()),
      reg_(std::make_unique<ggml_backend_reg>()),
      type_(std::make_unique<ggml_backend_buffer_type>()) {
  TestDeviceCalls::fill(*this);
}
TestDevice::~TestDevice() = default;

bool TestDevice::claim(std::uint64_t size) {
  if (used_ + size + driver().value > options_.capacity.value) return false;
  used_ += size;
  if (used_ > peak_) peak_ = used_.load();
  return true;
}

void TestDevice::copied(Bytes bytes) const {
  auto time = std::chrono::duration<double>(options_.latency);
  if (options_.bytes_per_s > 0)
    time += std::chrono::duration<double>(static_cast<double>(bytes.value) / options_.bytes_per_s);
  if (time.count() > 0) std::this_thread::sleep_for(time);
}

}  // namespace brimful::tests

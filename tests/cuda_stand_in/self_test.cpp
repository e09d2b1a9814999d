// Breaks one rule of CUDA, or just keeps it, so that a check can see that the stand-in tells the two apart.
// Usage: self_test SCENARIO
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

extern "C" void __cudaRegisterFunction(void**, const char*, char*, const char*, int, uint3*, uint3*, dim3*,
                                       dim3*, int*);

namespace {

constexpr std::size_t kSize = 4 << 20;

/// `void reads(float const*)` and `void writes(float*)`.
const char reads = 0;
const char writes = 0;

struct Queue {
  Queue() { static_cast<void>(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
  cudaStream_t handle = nullptr;
};

char* on_card() {
  void* memory = nullptr;
  static_cast<void>(cudaMalloc(&memory, kSize));
  return static_cast<char*>(memory);
}
char* pinned() {
  void* memory = nullptr;
  static_cast<void>(cudaMallocHost(&memory, kSize));
  return static_cast<char*>(memory);
}
void launch(const char& kernel, void* memory, const Queue& queue) {
  void* arguments[] = {&memory};
  static_cast<void>(cudaLaunchKernel(&kernel, dim3(1), dim3(1), arguments, 0, queue.handle));
}
void copy(void* to, const void* from, const Queue& queue) {
  static_cast<void>(cudaMemcpyAsync(to, from, kSize, cudaMemcpyDefault, queue.handle));
}
void wait(const Queue& queue) { static_cast<void>(cudaStreamSynchronize(queue.handle)); }

/// A kernel reads what a copy on another stream brings.
void copy_and_read(bool ordered) {
  const Queue copies;
  const Queue computes;
  char* const memory = on_card();
  copy(memory, pinned(), copies);
  if (ordered) {
    cudaEvent_t event = nullptr;
    static_cast<void>(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    static_cast<void>(cudaEventRecord(event, copies.handle));
    static_cast<void>(cudaStreamWaitEvent(computes.handle, event, 0));
  }
  launch(reads, memory, computes);
}

/// A copy overwrites what a kernel reads.
void read_and_copy(bool waits) {
  const Queue copies;
  const Queue computes;
  char* const memory = on_card();
  launch(reads, memory, computes);
  if (waits) wait(computes);
  copy(memory, pinned(), copies);
}

void change_source(bool waits) {
  const Queue copies;
  char* const source = pinned();
  copy(on_card(), source, copies);
  if (waits) wait(copies);
  std::memset(source, 1, kSize);
  wait(copies);
}

void read_result_back(bool waits) {
  const Queue computes;
  char* const memory = on_card();
  launch(writes, memory, computes);
  if (waits) wait(computes);
  std::vector<char> target(kSize);
  copy(target.data(), memory, Queue());
}

void copy_after_free() {
  char* const memory = on_card();
  static_cast<void>(cudaFree(memory));
  copy(memory, pinned(), Queue());
}

void copy_behind_the_end() {
  char* const memory = on_card();
  copy(memory + 1, pinned(), Queue());
}

void write_to_memory_pinned_for_reading() {
  std::vector<char> target(kSize);
  static_cast<void>(cudaHostRegister(target.data(), kSize, cudaHostRegisterReadOnly));
  copy(target.data(), on_card(), Queue());
}

void result_arrives_at_the_end_only() {
  const Queue copies;
  char* const target = pinned();
  copy(target, on_card(), copies);
  if (target[0] == 0) std::printf("the result is there before the wait\n");
  wait(copies);
  if (target[0] != 0) std::printf("the result is not there after the wait\n");
}

void record_again_and_again() {
  const Queue queue;
  char* const memory = on_card();
  for (int i = 0; i < 4; ++i) {
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamBeginCapture(queue.handle, cudaStreamCaptureModeRelaxed));
    launch(writes, memory, queue);
    static_cast<void>(cudaStreamEndCapture(queue.handle, &graph));
  }
}

void take_the_second_card() {
  static_cast<void>(cudaSetDevice(1));
  on_card();
}

}  // namespace

int main(int count, char** arguments) {
  __cudaRegisterFunction(nullptr, &reads, nullptr, "_Z5readsPKf", -1, nullptr, nullptr, nullptr, nullptr,
                         nullptr);
  __cudaRegisterFunction(nullptr, &writes, nullptr, "_Z6writesPf", -1, nullptr, nullptr, nullptr, nullptr,
                         nullptr);
  const std::map<std::string, std::function<void()>> scenarios{
      {"copy-and-read", [] { copy_and_read(false); }},
      {"copy-and-read-in-order", [] { copy_and_read(true); }},
      {"read-and-copy", [] { read_and_copy(false); }},
      {"read-and-copy-in-order", [] { read_and_copy(true); }},
      {"change-source", [] { change_source(false); }},
      {"change-source-in-order", [] { change_source(true); }},
      {"read-result", [] { read_result_back(false); }},
      {"read-result-in-order", [] { read_result_back(true); }},
      {"copy-after-free", copy_after_free},
      {"copy-behind-the-end", copy_behind_the_end},
      {"write-to-pinned-for-reading", write_to_memory_pinned_for_reading},
      {"result-arrives", result_arrives_at_the_end_only},
      {"record-again-and-again", record_again_and_again},
      {"second-card", take_the_second_card},
  };
  const auto scenario = scenarios.find(count == 2 ? arguments[1] : "");
  if (scenario == scenarios.end()) return 2;
  scenario->second();
  return 0;
}

// Runs ggml's rpc-server with its CPU device. Usage: rpc_server HOST:PORT THREADS
#include <ggml-cpu.h>
#include <ggml-rpc.h>

#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  ggml_backend_rpc_start_server(argv[1], nullptr, static_cast<size_t>(std::atoi(argv[2])), 1, &device);
  return 1;
}

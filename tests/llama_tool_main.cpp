// The main() of llama.cpp's tools that write results to their log. Left to themselves, they end while another
// thread still writes, and lose the last lines.
#include <log.h>

int llama_tool_main(int argc, char** argv);  // the tool's own main()

int main(int argc, char** argv) {
  const int code = llama_tool_main(argc, argv);
  common_log_pause(common_log_main());
  return code;
}

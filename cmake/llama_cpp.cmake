# The pinned llama.cpp with ggml: fetched and verified by scripts/fetch-llama-cpp, built as static libraries.

set(BRIMFUL_LLAMA_CPP_DIR ${CMAKE_SOURCE_DIR}/.deps/llama.cpp CACHE PATH "Sources of the pinned llama.cpp")
execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/fetch-llama-cpp ${BRIMFUL_LLAMA_CPP_DIR}
                RESULT_VARIABLE fetch_result)
if(NOT fetch_result EQUAL 0)
  message(FATAL_ERROR "the pinned llama.cpp sources could not be fetched; see the line above")
endif()

set(BUILD_SHARED_LIBS OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_IS_DEV OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_COMMON ON CACHE BOOL "" FORCE)
set(LLAMA_BUILD_TESTS OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_TOOLS OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_EXAMPLES OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_SERVER OFF CACHE BOOL "" FORCE)
set(LLAMA_BUILD_APP OFF CACHE BOOL "" FORCE)
set(LLAMA_USE_PREBUILT_UI OFF CACHE BOOL "" FORCE)
set(LLAMA_ALL_WARNINGS OFF CACHE BOOL "" FORCE)
set(LLAMA_OPENSSL OFF CACHE BOOL "" FORCE)
set(GGML_CCACHE OFF CACHE BOOL "" FORCE)
set(GGML_RPC ON CACHE BOOL "" FORCE)
# Our own thread pool, so that a stall on the disk does not leave workers spinning (docs/adr/0005).
option(GGML_OPENMP "" OFF)

# Some virtual machines advertise AMX and then kill the process at the first tile instruction.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(no_amx -mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
endif()

# ggml builds as C++17; only our own targets are C++23.
set(CMAKE_CXX_STANDARD 17)
add_compile_options(${no_amx})
add_subdirectory(${BRIMFUL_LLAMA_CPP_DIR} ${CMAKE_BINARY_DIR}/llama.cpp EXCLUDE_FROM_ALL SYSTEM)

# ggml's kernels load unaligned words and shift into the sign bit on purpose; its rpc-server reads messages where they lie.
if(BRIMFUL_SANITIZE)
  foreach(target ggml-base ggml-cpu ggml-rpc)
    target_compile_options(${target} PRIVATE -fno-sanitize=alignment,shift)
  endforeach()
endif()

# ggml's internal headers: only the sources of src/tier and the test device find them.
add_library(ggml_internal INTERFACE)
target_include_directories(ggml_internal SYSTEM INTERFACE ${BRIMFUL_LLAMA_CPP_DIR}/ggml/src)
target_link_libraries(ggml_internal INTERFACE ggml)

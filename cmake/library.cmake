# The library, shared and static, and what makes an installed package of it.

set(public_headers ${CMAKE_SOURCE_DIR}/include)
configure_file(${public_headers}/brimful/version.h.in ${CMAKE_BINARY_DIR}/include/brimful/version.h @ONLY)

# What both consist of: our folders up to session, and llama.cpp.
set(library_parts brimful_session brimful_schedule brimful_chat brimful_engine brimful_probe brimful_tier brimful_synth
    brimful_plan brimful_constraint brimful_foreign brimful_memory brimful_model brimful_hardware brimful_control brimful_base
    llama-common llama llama-common-base cpp-httplib ggml ggml-cpu ggml-rpc ggml-base)

# Shared: it exports the public interface, ggml for back ends that are plug-ins, and operator new, which the limits for
# other people's code need (docs/adr/0015).
add_library(libbrimful SHARED ${CMAKE_BINARY_DIR}/empty.cpp)
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/empty.cpp CONTENT "// Everything in the library comes from archives.\n")
set_target_properties(libbrimful PROPERTIES OUTPUT_NAME brimful VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} LINKER_LANGUAGE CXX EXPORT_NAME brimful
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
target_link_libraries(libbrimful PRIVATE ${library_parts})
# All of these: what the library's users call, and what plug-ins do.
target_link_options(libbrimful PRIVATE -Wl,--whole-archive $<TARGET_FILE:brimful_session> $<TARGET_FILE:brimful_foreign>
  $<TARGET_FILE:ggml-base> -Wl,--no-whole-archive)
target_link_options(libbrimful PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/library.map -Wl,--no-undefined)
set_property(TARGET libbrimful APPEND PROPERTY LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/library.map)
target_include_directories(libbrimful INTERFACE $<BUILD_INTERFACE:${public_headers}>
  $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(libbrimful INTERFACE cxx_std_23)

# Static: one archive of all these archives.
set(script "CREATE ${CMAKE_BINARY_DIR}/lib/libbrimful.a\n")
set(archives)
foreach(part ${library_parts})
  string(APPEND script "ADDLIB $<TARGET_FILE:${part}>\n")
  list(APPEND archives $<TARGET_FILE:${part}>)
endforeach()
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/lib/archive.mri CONTENT "${script}SAVE\nEND\n")
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/lib/libbrimful.a
  COMMAND ${CMAKE_COMMAND} -E rm -f ${CMAKE_BINARY_DIR}/lib/libbrimful.a
  COMMAND ${CMAKE_AR} -M < ${CMAKE_BINARY_DIR}/lib/archive.mri
  DEPENDS ${library_parts} ${CMAKE_BINARY_DIR}/lib/archive.mri VERBATIM)
add_custom_target(libbrimful_static ALL DEPENDS ${CMAKE_BINARY_DIR}/lib/libbrimful.a)

# The package.
include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/brimful)
configure_package_config_file(cmake/brimful-config.cmake.in ${CMAKE_BINARY_DIR}/brimful-config.cmake
  PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR
  INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/brimful-config-version.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH prefix_from_pkgconfig /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/brimful.pc.in ${CMAKE_BINARY_DIR}/brimful.pc @ONLY)

install(TARGETS libbrimful EXPORT brimful-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT brimful-targets NAMESPACE brimful:: DESTINATION ${package})
install(FILES ${CMAKE_BINARY_DIR}/lib/libbrimful.a DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${CMAKE_BINARY_DIR}/brimful-config.cmake ${CMAKE_BINARY_DIR}/brimful-config-version.cmake DESTINATION ${package})
install(FILES ${CMAKE_BINARY_DIR}/brimful.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(DIRECTORY ${public_headers}/brimful DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES ${CMAKE_BINARY_DIR}/include/brimful/version.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/brimful)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${BRIMFUL_LLAMA_CPP_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME LICENSE.llama.cpp)

# SPDX-License-Identifier: Apache-2.0
# A room is a folder of userspace/: one static library of all its sources. Whom it may include is what
# it is linked to here and what scripts/check-rooms holds it to.

add_library(limpet_options INTERFACE)
target_include_directories(limpet_options INTERFACE ${PROJECT_SOURCE_DIR}/include
                                                    ${PROJECT_SOURCE_DIR}/userspace)
target_compile_options(limpet_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wundef -Werror
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Woverloaded-virtual>
  -fno-omit-frame-pointer
  # g++ 12 sees overlaps in its own string headers that are not there (GCC bug 105329)
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-restrict>
  # in a unity build a file's own types look like a header's
  $<$<AND:$<BOOL:${LIMPET_UNITY}>,$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-subobject-linkage>
  # and what one file names, another one's locals seem to shadow
  $<$<AND:$<BOOL:${LIMPET_UNITY}>,$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:Clang>>:-Wno-shadow>)
target_compile_definitions(limpet_options INTERFACE LIMPET_VERSION="${PROJECT_VERSION}"
                                                    $<$<COMPILE_LANGUAGE:CXX>:BOOST_ASIO_SEPARATE_COMPILATION>
                                                    $<$<COMPILE_LANGUAGE:CXX>:BOOST_ASIO_NO_DEPRECATED>
                                                    $<$<COMPILE_LANGUAGE:CXX>:BOOST_BEAST_SEPARATE_COMPILATION>
                                                    $<$<COMPILE_LANGUAGE:CXX>:SPDLOG_COMPILED_LIB>
                                                    $<$<COMPILE_LANGUAGE:CXX>:SPDLOG_FMT_EXTERNAL>)
if(LIMPET_SANITIZE)
  target_compile_options(limpet_options INTERFACE -fsanitize=${LIMPET_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(limpet_options INTERFACE -fsanitize=${LIMPET_SANITIZE})
endif()
if(LIMPET_FUZZERS) # the fuzzer must see the branches of the rooms, not only of its own target
  target_compile_options(limpet_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
find_package(Threads REQUIRED)
target_link_libraries(limpet_options INTERFACE Threads::Threads)

# limpet_room(NAME [libraries]): the library limpet_NAME from userspace/NAME/*.cpp and *.c
function(limpet_room name)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/userspace/${name}/*.cpp
                                      ${PROJECT_SOURCE_DIR}/userspace/${name}/*.c)
  if(NOT sources)
    return()
  endif()
  add_library(limpet_${name} STATIC ${sources})
  target_link_libraries(limpet_${name} PUBLIC limpet_options ${ARGN})
  set_target_properties(limpet_${name} PROPERTIES UNITY_BUILD ${LIMPET_UNITY} UNITY_BUILD_BATCH_SIZE 8)
endfunction()

# limpet_pch(NAME header…): precompile what every file of the room includes anyway
function(limpet_pch name)
  if(TARGET limpet_${name})
    foreach(header ${ARGN})
      target_precompile_headers(limpet_${name} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${header}>")
    endforeach()
  endif()
endfunction()

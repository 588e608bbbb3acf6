# SPDX-License-Identifier: Apache-2.0
# The BPF object: one source, compiled by clang and embedded in the binary as bytes, so that the binary is
# all that is installed.
find_program(LIMPET_BPF_CLANG NAMES clang-19 clang-16 clang-14 clang REQUIRED
             DOC "clang that compiles the BPF programs")
find_program(LIMPET_BPF_STRIP NAMES llvm-strip-19 llvm-strip-16 llvm-strip-14 llvm-strip REQUIRED)
file(GLOB LIMPET_BPF_HEADERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bpf/*.h
     ${PROJECT_SOURCE_DIR}/include/limpet/*.h)

set(LIMPET_BPF_FLAGS -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Wshadow -Werror -Wno-unused-parameter
                     -Wno-address-of-packed-member -D__BPF__ -I${PROJECT_SOURCE_DIR}/include)
execute_process(COMMAND ${CMAKE_C_COMPILER} -print-multiarch OUTPUT_VARIABLE LIMPET_MULTIARCH
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT LIMPET_MULTIARCH)
  set(LIMPET_MULTIARCH ${CMAKE_LIBRARY_ARCHITECTURE})
endif()
list(APPEND LIMPET_BPF_FLAGS -I/usr/include/${LIMPET_MULTIARCH})

# limpet_bpf_compile(NAME COMPILER OBJECT): bpf/NAME.bpf.c becomes OBJECT
function(limpet_bpf_compile name compiler object)
  get_filename_component(folder ${object} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${compiler} ${LIMPET_BPF_FLAGS} -c ${PROJECT_SOURCE_DIR}/bpf/${name}.bpf.c -o ${object}
    COMMAND ${LIMPET_BPF_STRIP} -g ${object}
    DEPENDS ${PROJECT_SOURCE_DIR}/bpf/${name}.bpf.c ${LIMPET_BPF_HEADERS}
    COMMENT "BPF ${name}"
    VERBATIM)
endfunction()

# limpet_bpf_matrix(NAME): the target bpf_matrix, which is not built with the rest, compiles it with every clang that is
# supported, for scripts/test-kernels
function(limpet_bpf_matrix name)
  foreach(version 14 16 19)
    set(object ${PROJECT_BINARY_DIR}/bpf/clang-${version}/${name}.bpf.o)
    limpet_bpf_compile(${name} clang-${version} ${object})
    list(APPEND objects ${object})
  endforeach()
  add_custom_target(bpf_matrix DEPENDS ${objects})
endfunction()

# limpet_bpf_object(NAME): bpf/NAME.bpf.c becomes NAME.bpf.o and, in the target NAME_bpf, a C array
function(limpet_bpf_object name)
  set(object ${PROJECT_BINARY_DIR}/bpf/${name}.bpf.o)
  set(embedded ${PROJECT_BINARY_DIR}/bpf/${name}_bpf.S)
  limpet_bpf_compile(${name} ${LIMPET_BPF_CLANG} ${object})
  file(CONFIGURE OUTPUT ${embedded} CONTENT "
    .section .rodata
    .global limpet_${name}_bpf_begin
    .global limpet_${name}_bpf_end
    .balign 16
limpet_${name}_bpf_begin:
    .incbin \"${object}\"
limpet_${name}_bpf_end:
    .byte 0
    .section .note.GNU-stack,\"\",%progbits
")
  set_source_files_properties(${embedded} PROPERTIES LANGUAGE ASM OBJECT_DEPENDS ${object})
  add_library(${name}_bpf STATIC ${embedded})
endfunction()

# SPDX-License-Identifier: Apache-2.0
# The BPF object: one source, compiled by clang and embedded in the binary as bytes, so that the binary is
# all that is installed.
find_program(LIMPET_BPF_CLANG NAMES clang-19 clang-16 clang-14 clang REQUIRED
             DOC "clang that compiles the BPF programs")
find_program(LIMPET_BPF_STRIP NAMES llvm-strip-19 llvm-strip-16 llvm-strip-14 llvm-strip REQUIRED)
file(GLOB LIMPET_BPF_HEADERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bpf/*.h
     ${PROJECT_SOURCE_DIR}/include/limpet/*.h)

# limpet_bpf_object(NAME): bpf/NAME.bpf.c becomes NAME.bpf.o and, in the target NAME_bpf, a C array
function(limpet_bpf_object name)
  set(object ${PROJECT_BINARY_DIR}/bpf/${name}.bpf.o)
  set(embedded ${PROJECT_BINARY_DIR}/bpf/${name}_bpf.S)
  execute_process(COMMAND ${CMAKE_C_COMPILER} -print-multiarch OUTPUT_VARIABLE multiarch
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT multiarch)
    set(multiarch ${CMAKE_LIBRARY_ARCHITECTURE})
  endif()
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/bpf)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${LIMPET_BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Wshadow -Werror
            -Wno-unused-parameter -Wno-address-of-packed-member -D__BPF__
            -I${PROJECT_SOURCE_DIR}/include -I/usr/include/${multiarch}
            -c ${PROJECT_SOURCE_DIR}/bpf/${name}.bpf.c -o ${object}
    COMMAND ${LIMPET_BPF_STRIP} -g ${object}
    DEPENDS ${PROJECT_SOURCE_DIR}/bpf/${name}.bpf.c ${LIMPET_BPF_HEADERS}
    COMMENT "BPF ${name}"
    VERBATIM)
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

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# tosa_rescale_module(
#   NAME <target>                  # also names the output, <target>.vmfb, where OUTPUT does not
#   SRC <model.tflite|.mlirbc|.mlir>
#   [OUTPUT <file>]                # relative to the build folder
#   [BITS <k>] [SCOPE <scope>] [ENCODING <encoding>] [MULTIPLIER_ROUNDING <rule>]
#   [COMPENSATE] [CALIBRATION <path|synthetic|none>]
#   [CONFIG <file>] [REPORT <file>]
#   [FLAGS <flag>...])             # of iree-compile, and other flags --tosa-rescale-*
#
# Compiles a model with tosa-rescale-compile. The file's path is the target's property TOSA_RESCALE_MODULE. Find this file with
#   execute_process(COMMAND tosa-rescale-compile --tosa-rescale-cmake-dir OUTPUT_VARIABLE dir OUTPUT_STRIP_TRAILING_WHITESPACE)
#   find_package(TosaRescale REQUIRED CONFIG PATHS ${dir})

find_program(TOSA_RESCALE_COMPILE tosa-rescale-compile DOC "The tosa-rescale-compile program")
if(NOT TOSA_RESCALE_COMPILE)
  set(TosaRescale_FOUND FALSE)
  set(TosaRescale_NOT_FOUND_MESSAGE "tosa-rescale-compile is not on PATH; pip install tosa-rescale, or set TOSA_RESCALE_COMPILE")
  return()
endif()

function(tosa_rescale_module)
  set(values NAME SRC OUTPUT BITS SCOPE ENCODING MULTIPLIER_ROUNDING CALIBRATION CONFIG REPORT)
  cmake_parse_arguments(PARSE_ARGV 0 arg "COMPENSATE" "${values}" "FLAGS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "tosa_rescale_module: unknown argument ${arg_UNPARSED_ARGUMENTS}; flags go behind FLAGS")
  endif()
  foreach(required NAME SRC)
    if(NOT DEFINED arg_${required})
      message(FATAL_ERROR "tosa_rescale_module: needs ${required}")
    endif()
  endforeach()
  if(NOT DEFINED arg_OUTPUT)
    set(arg_OUTPUT "${arg_NAME}.vmfb")
  endif()
  get_filename_component(source "${arg_SRC}" ABSOLUTE)
  get_filename_component(output "${arg_OUTPUT}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")

  set(own "")
  foreach(flag BITS SCOPE ENCODING MULTIPLIER_ROUNDING)
    if(DEFINED arg_${flag})
      string(TOLOWER "${flag}" name)
      string(REPLACE "_" "-" name "${name}")
      list(APPEND own "--tosa-rescale-${name}=${arg_${flag}}")
    endif()
  endforeach()
  if(arg_COMPENSATE)
    list(APPEND own "--tosa-rescale-compensate")
  endif()
  if(DEFINED arg_CALIBRATION)
    if(NOT arg_CALIBRATION MATCHES "^(synthetic|none)$")
      get_filename_component(arg_CALIBRATION "${arg_CALIBRATION}" ABSOLUTE)
    endif()
    list(APPEND own "--tosa-rescale-calibration=${arg_CALIBRATION}")
  endif()
  if(DEFINED arg_CONFIG)
    get_filename_component(config "${arg_CONFIG}" ABSOLUTE)
    list(APPEND own "--tosa-rescale-config=${config}")
  endif()
  set(outputs "${output}")
  if(DEFINED arg_REPORT)
    get_filename_component(report "${arg_REPORT}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
    list(APPEND own "--tosa-rescale-report=${report}")
    list(APPEND outputs "${report}")
  endif()

  add_custom_command(
    OUTPUT ${outputs}
    COMMAND "${TOSA_RESCALE_COMPILE}" "${source}" -o "${output}" "--tosa-rescale-depfile=${output}.d" ${own} ${arg_FLAGS}
    DEPENDS "${source}"
    DEPFILE "${output}.d" # configuration and calibration samples
    COMMENT "Compiling ${arg_OUTPUT}"
    VERBATIM)
  add_custom_target(${arg_NAME} ALL DEPENDS ${outputs})
  set_target_properties(${arg_NAME} PROPERTIES TOSA_RESCALE_MODULE "${output}")
endfunction()

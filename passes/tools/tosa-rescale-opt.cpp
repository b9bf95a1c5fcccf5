//===- tosa-rescale-opt.cpp - the passes as a stand-alone tool ------------===//
//
// mlir-opt with the dialects of an integer TOSA model and our passes.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Diagnostics.h"
#include "Passes.h"

#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tosa/Transforms/Passes.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>

using namespace mlir;

/// Writes `content`, and turns a failed write into an error; a raw_fd_ostream
/// that is destroyed with one pending ends the process.
static llvm::Error writeChecked(llvm::raw_fd_ostream &stream,
                                StringRef content) {
  stream << content;
  stream.flush();
  if (!stream.has_error())
    return llvm::Error::success();
  std::error_code error = stream.error();
  stream.clear_error();
  return llvm::errorCodeToError(error);
}

/// Writes the output in one step: a full disk or a killed process leaves the
/// file that was there.
static llvm::Error writeOutput(StringRef path, StringRef content) {
  if (path == "-")
    return writeChecked(llvm::outs(), content);
  // Pipes and devices cannot be replaced by a rename.
  if (llvm::sys::fs::exists(path) && !llvm::sys::fs::is_regular_file(path)) {
    std::error_code error;
    llvm::raw_fd_ostream stream(path, error);
    return error ? llvm::errorCodeToError(error)
                 : writeChecked(stream, content);
  }
  return llvm::writeToOutput(path, [&](llvm::raw_ostream &stream) {
    return writeChecked(static_cast<llvm::raw_fd_ostream &>(stream), content);
  });
}

/// Prints what is said of an operation that has a name and no line as
/// `name: error: text`; MLIR would name the first file that it comes from, at
/// line 0, and the operation not at all. Leaves the rest to MLIR.
static LogicalResult printNamed(Diagnostic &diagnostic) {
  StringRef name = tosa_rescale::getConvertedName(diagnostic.getLocation());
  if (name.empty())
    return failure();
  StringRef kind;
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    kind = "error";
    break;
  case DiagnosticSeverity::Warning:
    kind = "warning";
    break;
  case DiagnosticSeverity::Remark:
    kind = "remark";
    break;
  case DiagnosticSeverity::Note:
    kind = "note";
    break;
  }
  llvm::errs() << name << ": " << kind << ": " << diagnostic << "\n";
  // The whole operation, one line of thousands of letters, is not repeated.
  for (Diagnostic &note : diagnostic.getNotes())
    if (!StringRef(note.str()).starts_with("see current operation"))
      (void)printNamed(note);
  return success();
}

int main(int argc, char **argv) {
  llvm::InitLLVM initLLVM(argc, argv);

  tosa_rescale::registerTosaRescalePasses();
  registerCanonicalizerPass();
  registerCSEPass();
  tosa::registerTosaInferShapesPass();
  tosa::registerTosaValidationPass();

  DialectRegistry registry;
  registry.insert<func::FuncDialect, quant::QuantDialect, tensor::TensorDialect,
                  tosa::TosaDialect>();
  // MlirOptMain makes the context; what is registered last is asked first.
  registry.addExtension(+[](MLIRContext *context, func::FuncDialect *) {
    context->getDiagEngine().registerHandler(printNamed);
  });

  auto [inputPath, outputPath] = registerAndParseCLIOptions(
      argc, argv, "TOSA rescale narrowing tool\n", registry);
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (llvm::sys::path::extension(outputPath) == ".mlirbc")
    config.emitBytecode(true);

  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> input =
      openInputFile(inputPath, &message);
  if (!input) {
    llvm::errs() << "error: " << message << "\n";
    return EXIT_FAILURE;
  }

  std::string output;
  llvm::raw_string_ostream stream(output);
  // The bytecode reader asserts on some corrupt files. What is left of the
  // process after that is not to be trusted: it ends without a destructor.
  llvm::CrashRecoveryContext::Enable();
  LogicalResult result = failure();
  const bool survived = llvm::CrashRecoveryContext().RunSafely([&] {
    result = MlirOptMain(stream, std::move(input), registry, config);
  });
  if (!survived) {
    llvm::errs() << "error: cannot process '" << inputPath
                 << "': the file is corrupt, or this is a bug of MLIR\n";
    llvm::errs().flush();
    std::_Exit(EXIT_FAILURE);
  }
  llvm::CrashRecoveryContext::Disable();
  if (failed(result))
    return EXIT_FAILURE;
  if (llvm::Error error = writeOutput(outputPath, output)) {
    llvm::errs() << "error: cannot write '" << outputPath
                 << "': " << llvm::toString(std::move(error)) << "\n";
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}

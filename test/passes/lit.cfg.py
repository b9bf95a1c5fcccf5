# Configuration of the pass tests: `lit test/passes`, on an installed package or from the CMake target check-passes.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

import importlib.util
import os
import pathlib
import shutil
import sysconfig

import lit.formats

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


def package_directory(name):
    """Where the package of an MLIR or LLVM wheel lies, or None."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    locations = spec.submodule_search_locations if spec else None
    return pathlib.Path(next(iter(locations))) if locations else None


def host_directories():
    """Where LLVM's own tools may lie: named by the build, in the wheels, beside the running Python."""
    directories = [path for path in os.environ.get("TOSA_RESCALE_HOST_DIRS", "").split(":") if path]
    directories += [str(path / "bin") for path in map(package_directory, ("mlir", "llvm")) if path]
    return [*directories, sysconfig.get_path("scripts")]


def find(variable, *names):
    """A tool from the environment variable, else from the known places, else from PATH; None if there is none."""
    if os.environ.get(variable):
        return os.environ[variable]
    places = os.pathsep.join([*host_directories(), os.environ.get("PATH", "")])
    return next(filter(None, (shutil.which(name, path=places) for name in names)), None)


def find_plugin():
    if os.environ.get("TOSA_RESCALE_PLUGIN"):
        return os.environ["TOSA_RESCALE_PLUGIN"]
    package = package_directory("tosa_rescale")
    candidate = package / "lib" / "TosaRescalePlugin.so" if package else None
    return str(candidate) if candidate and candidate.exists() else None


def include_directories():
    if os.environ.get("MLIR_INCLUDE"):
        return os.environ["MLIR_INCLUDE"].split(":")
    return [str(path / "include") for path in [package_directory("mlir")] if path and (path / "include").exists()]


config.name = "tosa-rescale passes"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = str(HERE)
# Not into the repository, and not shared between two runs.
config.test_exec_root = os.path.join(
    lit_config.params.get("exec_root", os.environ.get("TMPDIR", "/tmp")), f"tosa-rescale-lit-{os.getuid()}", "passes"
)

tool = find("TOSA_RESCALE_OPT", "tosa-rescale-opt")
if not tool:
    lit_config.fatal("tosa-rescale-opt not found: install the package, or set TOSA_RESCALE_OPT")
filecheck = find("FILECHECK", "FileCheck", "FileCheck-22")
if not filecheck:
    lit_config.fatal("FileCheck not found: `pip install .[test]` brings it, or set FILECHECK")
# What is read must come back from text and from bytecode as it was; where a test reads what a pass wrote, so must that.
config.substitutions += [
    ("tosa-rescale-opt", f"{tool} --verify-roundtrip"),
    ("%tool", tool),
    ("FileCheck", filecheck),
    ("%repository", str(REPOSITORY)),
]

plugin, mlir_opt = find_plugin(), find("MLIR_OPT", "mlir-opt", "mlir-opt-22")
if plugin and mlir_opt:
    config.available_features.add("plugin")
    config.substitutions += [("%plugin", plugin), ("%mlir_opt", mlir_opt)]

tblgen, includes = find("MLIR_TBLGEN", "mlir-tblgen", "mlir-tblgen-22"), include_directories()
if tblgen and includes:
    config.available_features.add("tblgen")
    config.substitutions += [("%tblgen", tblgen), ("%mlir_includes", " ".join(f"-I {path}" for path in includes))]

if os.path.exists("/dev/full"):
    config.available_features.add("dev-full")

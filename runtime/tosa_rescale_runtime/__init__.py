# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The integer side of tosa-rescale: TOSA modules in, integers out.

Reads modules (`Module`), splits them into a skeleton that is compiled once and parameters that change (`externalize`),
compiles with IREE (`compile_module`), runs (`Executable`) and compares bit for bit (`compare`). IREE is imported when it
is first needed.
"""

from .compare import Comparison as Comparison
from .compare import compare as compare
from .compare import compare_all as compare_all
from .compare import first_difference as first_difference
from .compile import DEFAULT_FLAGS as DEFAULT_FLAGS
from .compile import Cache as Cache
from .compile import cache_key as cache_key
from .compile import compile_module as compile_module
from .compile import default_cache as default_cache
from .compile import is_compiled as is_compiled
from .compile import watch_compiler as watch_compiler
from .constants import attribute_to_python as attribute_to_python
from .constants import constant_value as constant_value
from .constants import element_type as element_type
from .constants import shape_value as shape_value
from .constants import static_shape as static_shape
from .constants import type_limits as type_limits
from .errors import CompileError as CompileError
from .errors import ExecutionError as ExecutionError
from .errors import ModuleError as ModuleError
from .errors import TosaRescaleError as TosaRescaleError
from .execute import Executable as Executable
from .execute import Tapped as Tapped
from .execute import usable_cores as usable_cores
from .externalize import Skeleton as Skeleton
from .externalize import Tap as Tap
from .externalize import externalize as externalize
from .graph import DATA_MOVEMENT as DATA_MOVEMENT
from .graph import MAC_KINDS as MAC_KINDS
from .graph import MacLayer as MacLayer
from .graph import Op as Op
from .graph import accumulator as accumulator
from .graph import data_source as data_source
from .graph import location_name as location_name
from .iree_forms import prepare_for_iree as prepare_for_iree
from .iree_forms import rewrite_for_iree as rewrite_for_iree
from .limits import input_limits as input_limits
from .module import Module as Module
from .rescale import Rescale as Rescale
from .rescale import read_rescale as read_rescale
from .signature import Signature as Signature
from .signature import TensorSpec as TensorSpec

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
from .compile import compile_module as compile_module
from .compile import default_cache as default_cache
from .errors import CompileError as CompileError
from .errors import ExecutionError as ExecutionError
from .errors import ModuleError as ModuleError
from .errors import TosaRescaleError as TosaRescaleError
from .execute import Executable as Executable
from .execute import usable_cores as usable_cores
from .module import MacLayer as MacLayer
from .module import Module as Module
from .module import Op as Op
from .module import Rescale as Rescale
from .module import Signature as Signature
from .module import TensorSpec as TensorSpec
from .module import attribute_to_python as attribute_to_python
from .module import constant_value as constant_value
from .module import element_type as element_type
from .module import location_name as location_name
from .module import read_rescale as read_rescale
from .module import shape_value as shape_value
from .module import static_shape as static_shape
from .module import type_limits as type_limits
from .parameters import Skeleton as Skeleton
from .parameters import Tap as Tap
from .parameters import externalize as externalize

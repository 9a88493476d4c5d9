"""The one module that imports TensorRT: which flavours are there, and what they can do.

`tensorrt` is the full TensorRT (10.1 or later), which builds for the GPU at hand; `tensorrt_rtx` is
TensorRT-RTX, which builds ahead of time, without a GPU. What a version can do is told by the
attributes that its bindings have, never by its number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import logging
import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from tftrt_toolkit.artifacts import Flavour
from tftrt_toolkit.params import FLAVOURS

_log = logging.getLogger("tftrt_toolkit.tensorrt")

# Everything that this package uses of every version; a module without one of them is too old.
REQUIRED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "Builder": frozenset(
            {
                "build_serialized_network",
                "create_builder_config",
                "create_network",
                "create_optimization_profile",
            }
        ),
        "BuilderFlag": frozenset({"SPARSE_WEIGHTS", "TF32"}),
        "DataType": frozenset({"BF16", "BOOL", "FLOAT", "HALF", "INT32", "INT64", "INT8", "UINT8"}),
        "ExecutionContextAllocationStrategy": frozenset({"USER_MANAGED"}),
        "IBuilderConfig": frozenset(
            {
                "add_optimization_profile",
                "builder_optimization_level",
                "clear_flag",
                "profiling_verbosity",
                "progress_monitor",
                "set_flag",
                "set_memory_pool_limit",
            }
        ),
        "ICudaEngine": frozenset(
            {
                "create_execution_context",
                "get_device_memory_size_for_profile_v2",
                "get_tensor_name",
                "is_shape_inference_io",
                "num_io_tensors",
            }
        ),
        "IExecutionContext": frozenset(
            {
                "execute_async_v3",
                "get_tensor_shape",
                "infer_shapes",
                "set_device_memory",
                "set_input_shape",
                "set_optimization_profile_async",
                "set_tensor_address",
            }
        ),
        "IGpuAllocator": frozenset({"allocate_async", "deallocate_async"}),
        "IHostMemory": frozenset({"nbytes"}),
        "ILogger": frozenset({"log", "ERROR", "INFO", "INTERNAL_ERROR", "VERBOSE", "WARNING"}),
        "INetworkDefinition": frozenset({"get_input", "get_output", "num_inputs", "num_outputs"}),
        "IOptimizationProfile": frozenset(
            {"get_shape", "get_shape_input", "set_shape", "set_shape_input"}
        ),
        "IProgressMonitor": frozenset({"phase_finish", "phase_start", "step_complete"}),
        "ITensor": frozenset({"dtype", "is_shape_tensor", "name", "shape"}),
        "MemoryPoolType": frozenset({"WORKSPACE"}),
        "NetworkDefinitionCreationFlag": frozenset({"STRONGLY_TYPED"}),
        "OnnxParser": frozenset({"get_error", "num_errors", "parse_from_file"}),
        "ParserError": frozenset({"desc", "node_name", "node_operator"}),
        "ProfilingVerbosity": frozenset({"DETAILED"}),
        "Runtime": frozenset({"deserialize_cuda_engine", "gpu_allocator"}),
    }
)
# What is used where a version has it; the key is the property of `TensorRT` that asks.
OPTIONAL: Mapping[str, Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "builds_ahead": {
            "ComputeCapability": frozenset(),
            "IBuilderConfig": frozenset({"num_compute_capabilities", "set_compute_capability"}),
        },
        "parser_takes_weights": {
            "OnnxParser": frozenset({"load_initializer", "load_model_proto", "parse_model_proto"}),
        },
        "builds_to_stream": {
            "Builder": frozenset({"build_serialized_network_to_stream"}),
            "IStreamWriter": frozenset({"write"}),
        },
    }
)
# A builder without a GPU says this in passing, whatever it was asked.
_NO_DRIVER = "CUDA driver version is insufficient"


@dataclasses.dataclass(frozen=True)
class Unavailable:
    """Why something can't be had, as one sentence for the user."""

    reason: str


@dataclasses.dataclass(frozen=True)
class TensorRT:
    """A TensorRT that was found. `module` is its bindings."""

    flavour: Flavour
    version: str
    module: Any

    @property
    def builds_ahead(self) -> bool:
        """Whether it builds for compute capabilities that are named, without their GPU."""
        return self._has("builds_ahead")

    @property
    def parser_takes_weights(self) -> bool:
        """Whether the parser takes weights from memory, so that nobody has to serialize them."""
        return self._has("parser_takes_weights")

    @property
    def builds_to_stream(self) -> bool:
        """Whether a plan can be written piece by piece instead of in one buffer."""
        return self._has("builds_to_stream")

    def _has(self, capability: str) -> bool:
        return not missing(self.module, OPTIONAL[capability])

    def network_flags(self) -> int:
        """Flags of a strongly typed network; their bits differ between versions."""
        return 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def capabilities(self) -> dict[str, Any]:
        """Compute capability ("8.9") -> the builder's name of it; empty if it can't choose."""
        if not self.builds_ahead:
            return {}
        members = self.module.ComputeCapability.__members__.items()
        return {
            f"{name[2:-1]}.{name[-1]}": value for name, value in members if name.startswith("SM")
        }

    @property
    def logger(self) -> Any:
        """The ILogger of this process: builders, parsers and runtimes must all be given it."""
        return _logger(self.flavour)

    @contextlib.contextmanager
    def collect(self) -> Iterator[Messages]:
        """What TensorRT says inside the block, in whichever thread."""
        messages = Messages()
        with _collectors_lock:
            _collectors.append(messages)
        try:
            yield messages
        finally:
            with _collectors_lock:
                _collectors.remove(messages)


@dataclasses.dataclass
class Messages:
    """What TensorRT said: its errors, and the list of fused layers if it was asked to tell them."""

    errors: list[str] = dataclasses.field(default_factory=list)
    layers: str = ""

    def summary(self) -> str:
        """The errors in one line, each once."""
        return "; ".join(dict.fromkeys(" ".join(error.split()) for error in self.errors))


_collectors: list[Messages] = []
_collectors_lock = threading.Lock()


def find(flavour: str) -> TensorRT | Unavailable:
    """The TensorRT that builds engines for `flavour` here.

    "auto" is the full TensorRT where it and a GPU are there, else TensorRT-RTX.
    """
    if flavour != "auto":
        found = load(flavour)
        if isinstance(found, Unavailable) or found.builds_ahead or gpu_capability():
            return found
        return Unavailable(
            f"TensorRT {found.version} builds only for the GPU at hand and TensorFlow sees none: "
            "build on the target machine, or take engine='tensorrt_rtx'"
        )
    candidates = [find(name) for name in FLAVOURS if name != "auto"]
    for candidate in candidates:
        if isinstance(candidate, TensorRT):
            return candidate
    return Unavailable("; ".join(one.reason for one in candidates if isinstance(one, Unavailable)))


@functools.cache
def load(flavour: str) -> TensorRT | Unavailable:
    """Import one flavour's bindings, whether or not they can build here."""
    package = "tensorrt" if flavour == "tensorrt" else "tensorrt_rtx_cu12"
    try:
        module = importlib.import_module(flavour)
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        return Unavailable(f"{flavour} can't be imported ({reason}): pip install {package}")
    version = getattr(module, "__version__", "of an unknown version")
    lacks = missing(module, REQUIRED)
    if lacks:
        return Unavailable(
            f"{flavour} {version} lacks {', '.join(lacks[:3])}: "
            "install TensorRT 10.1 or later, or TensorRT-RTX 1.7 or later"
        )
    return TensorRT("tensorrt" if flavour == "tensorrt" else "tensorrt_rtx", version, module)


def missing(module: Any, api: Mapping[str, frozenset[str]]) -> list[str]:
    """The names in `api` that the bindings don't have."""
    lacks = []
    for name, attributes in sorted(api.items()):
        owner = getattr(module, name, None)
        if owner is None:
            lacks.append(name)
        else:
            lacks += [f"{name}.{one}" for one in sorted(attributes) if not hasattr(owner, one)]
    return lacks


@functools.cache
def gpu_capability() -> str | None:
    """Compute capability ("8.9") of the first GPU that TensorFlow sees; None without one."""
    for device in tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(device).get("compute_capability")
        if capability:
            return f"{capability[0]}.{capability[1]}"
    return None


@functools.cache
def _logger(flavour: str) -> Any:
    """One logger a flavour and process, never freed: TensorRT keeps a pointer to it."""
    trt: Any = importlib.import_module(flavour)
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.WARNING,
        trt.ILogger.INFO: logging.INFO,
        trt.ILogger.VERBOSE: logging.DEBUG,
    }

    class Bridge(trt.ILogger):
        """Hands TensorRT's messages to Python's logging and to whoever collects them."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            _dispatch(levels.get(severity, logging.DEBUG), message)

    return Bridge()


def _dispatch(level: int, message: str) -> None:
    if level >= logging.ERROR and _NO_DRIVER in message and gpu_capability() is None:
        message = "\n".join(line for line in message.splitlines() if _NO_DRIVER not in line)
        if not message:
            return
    layers = message.startswith("Layers:")
    if level >= logging.ERROR or layers:
        with _collectors_lock:
            for messages in _collectors:
                if layers:
                    messages.layers = message
                else:
                    messages.errors.append(message)
    if _log.isEnabledFor(level):
        _log.log(level, "%s", message.rstrip())

"""A segment's ONNX in ONNX Runtime, on TensorFlow's memory and TensorFlow's stream."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.errors import AssetError, MissingDependencyError
from tftrt_toolkit.onnx_model import to_session, with_input_shapes
from tftrt_toolkit.runtime.bridge import CCall
from tftrt_toolkit.runtime.cuda_driver import copy_on_device

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
# ONNX Runtime takes no null address, not even of an empty tensor.
NOWHERE = 1 << 12


class Session:
    """A session and what binding to it takes."""

    def __init__(
        self,
        asset: AssetFile,
        device: int | None,
        stream: int,
        shapes: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        """On a GPU it uses no other stream. Raises MissingDependencyError without CUDA.

        shapes: of the inputs, if it will see no others.
        """
        import onnxruntime

        model = asset.load_onnx().model
        if shapes is not None:
            names = (spec.name for spec in asset.inputs)
            model = with_input_shapes(model, dict(zip(names, shapes, strict=True)))
        if device is None:
            self.session = to_session(model)
        else:
            options = _cuda_options(device, stream)
            self.session = to_session(model, providers=[(_CUDA, options), _CPU])
            if _CUDA not in self.session.get_providers():
                raise MissingDependencyError(
                    f"onnxruntime {onnxruntime.__version__} has no CUDA here: "
                    "pip install onnxruntime-gpu with the CUDA libraries that it needs"
                )
        self.place = ("cpu", 0) if device is None else ("cuda", device)
        # Two runs at once in one CUDA session would share its handles; the stream is one anyway.
        self.lock = threading.Lock() if device is not None else None
        known = {value.name for value in self.session.get_inputs()}
        self.inputs = [
            (index, spec.name, _element_type(spec.dtype))
            for index, spec in enumerate(asset.inputs)
            if spec.name in known
        ]
        self.outputs = [(spec.name, _element_type(spec.dtype)) for spec in asset.outputs]
        declared = {
            value.name: value.type.tensor_type.elem_type for value in model.proto.graph.output
        }
        for name, element in self.outputs:
            if declared.get(name) != element:
                raise AssetError(f"{asset.path}: its ONNX doesn't make the output {name!r}")
        self.run_options = onnxruntime.RunOptions()
        self.run_options.log_severity_level = 4  # what fails raises an error that says so
        # No CUDA graph. Unset, it is asked for at each run, and found missing the slow way.
        self.run_options.add_run_config_entry("gpu_graph_id", "-1")
        if device is not None:
            self.run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def run(self, binding: Any) -> None:
        """Run, or enqueue on the GPU, what is bound. Raises ONNX Runtime's own exceptions."""
        if self.lock is None:
            self.session.run_with_iobinding(binding, self.run_options)
        else:
            with self.lock:
                self.session.run_with_iobinding(binding, self.run_options)


class Run:
    """Runs inputs of one set of shapes.

    The first run lets ONNX Runtime allocate the outputs, copies them, and learns their shapes; the
    later ones write into TensorFlow's memory. Where a shape turns out to depend on values, all runs
    are as the first.
    """

    def __init__(self, session: Session, input_shapes: Sequence[tuple[int, ...]]) -> None:
        self._session = session
        self._input_shapes = input_shapes
        self._output_shapes: list[tuple[int, ...]] | None = None
        self._depends_on_values = False
        self._idle: list[Any] = []  # bindings that no call uses now

    def __call__(self, call: CCall) -> None:
        """Run, or enqueue on the GPU. Raises ONNX Runtime's own exceptions."""
        try:
            binding = self._idle.pop()
        except IndexError:
            binding = self._session.session.io_binding()
        views, place = call.inputs, self._session.place
        for index, name, element in self._session.inputs:
            address = views[index].data or NOWHERE
            binding.bind_input(name, *place, element, self._input_shapes[index], address)
        known = self._output_shapes
        if known is None or not self._run_in_place(call, binding, known):
            shapes = self._run_and_copy(call, binding)
            self._depends_on_values |= known is not None and shapes != known
            self._output_shapes = None if self._depends_on_values else shapes
        self._idle.append(binding)

    def _run_in_place(self, call: CCall, binding: Any, shapes: Sequence[tuple[int, ...]]) -> bool:
        """False if it can't be: mostly because a shape isn't what it was for these inputs."""
        outputs = zip(self._session.outputs, shapes, strict=True)
        for index, ((name, element), shape) in enumerate(outputs):
            address = call.allocate_output(index, shape) or NOWHERE
            binding.bind_output(name, *self._session.place, element, shape, address)
        try:
            self._session.run(binding)
        except Exception:  # ONNX Runtime's exceptions share no base class; the next run raises
            return False
        return True

    def _run_and_copy(self, call: CCall, binding: Any) -> list[tuple[int, ...]]:
        """Returns the outputs' shapes."""
        for name, _ in self._session.outputs:
            binding.bind_output(name, *self._session.place)
        self._session.run(binding)
        values = binding.get_outputs()
        shapes = [tuple(value.shape()) for value in values]
        for index, (value, shape) in enumerate(zip(values, shapes, strict=True)):
            address = call.allocate_output(index, shape)
            size = call.outputs[index].bytes
            if size:
                _copy(address, value.data_ptr(), size, call)
        binding.clear_binding_outputs()
        return shapes


def _element_type(dtype: Any) -> int:
    return onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype.as_numpy_dtype))


def _cuda_options(device: int, stream: int) -> dict[str, str]:
    """TensorFlow's stream; then ONNX Runtime's arena is its own, since it takes not both."""
    return {
        "device_id": str(device),
        "user_compute_stream": str(stream),
        "arena_extend_strategy": "kSameAsRequested",
    }


def _copy(target: int, source: int, size: int, call: CCall) -> None:
    """On a GPU in the order of TensorFlow's stream."""
    if call.device < 0:
        ctypes.memmove(target, source, size)
        return
    copy_on_device(target, source, size, call.stream)

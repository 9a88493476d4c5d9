"""Runs a segment's ONNX in ONNX Runtime: on the CPU, or on TensorFlow's GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tftrt_toolkit.asset import AssetFile
from tftrt_toolkit.runtime.bridge import CCall
from tftrt_toolkit.runtime.executor import CallInfo, Prepared, require_interface
from tftrt_toolkit.runtime.onnxruntime_graph import CapturingRun, Graphs
from tftrt_toolkit.runtime.onnxruntime_session import Run, Session


class OnnxRuntimeExecutor:
    """One session for each device (on a GPU: for each stream), made when it is first needed.

    On a GPU, sets of shapes that come often run as CUDA graphs.
    """

    name = "onnxruntime"

    def __init__(self, asset: AssetFile) -> None:
        """The session is made from the asset's ONNX at the first call."""
        self._asset = asset
        self._lock = threading.Lock()
        self._sessions: dict[tuple[int | None, int], Session] = {}
        self._graphs = Graphs(asset)

    def prepare(self, call: CallInfo) -> Prepared:
        """Make the device's session if there is none yet."""
        require_interface(self._asset, call)
        key = (call.device, call.stream)
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = Session(self._asset, call.device, call.stream)
            session = self._sessions[key]
        run: Callable[[CCall], None] = Run(session, call.shapes())
        if call.device is not None:
            run = CapturingRun(self._graphs, run)
        return Prepared(run, [None] * call.num_outputs)

    def close(self) -> None:
        """Free the sessions; graphs go with the plans that run them."""
        self._sessions.clear()

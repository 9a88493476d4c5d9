"""What travels between stages: frozen dataclasses, and nothing that does work.

Names follow TensorFlow's: a *node* is `scope/conv1`, a *tensor* is `scope/conv1:0` (the index is
always written), a control input is `^scope/conv1`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    import onnx  # which an environment for TensorFlow 2.17 needn't have

Flavour = Literal["tensorrt", "tensorrt_rtx"]


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """A tensor's name (`node:0`), dtype and shape, perhaps of unknown rank."""

    name: str
    dtype: tf.DType
    shape: tf.TensorShape

    def to_json(self) -> dict[str, Any]:
        """Name, dtype's name, and shape as a list; None for an unknown rank or dimension."""
        shape = None if self.shape.rank is None else self.shape.as_list()
        return {"name": self.name, "dtype": self.dtype.name, "shape": shape}


@dataclasses.dataclass(frozen=True)
class Weight:
    """A large constant that travels beside the graph.

    In `FrozenGraph.graph_def` it is a Placeholder. `value` is a read-only view of the variable's
    memory. `reader` is the NodeDef, of the same name as the placeholder, that yields the value in
    a graph that TensorFlow runs: a ReadVariableOp of a resource argument, an Identity of a captured
    tensor, or the original Const.
    """

    value: np.ndarray
    reader: Any  # tf.compat.v1.NodeDef


@dataclasses.dataclass(frozen=True)
class FrozenGraph:
    """One function's graph, inlined and constant-folded, without its large weights.

    graph_def: nodes in topological order; every argument is a Placeholder (resources too);
      `library` holds the functions still called. No weight's bytes are in it.
    arguments: Placeholder nodes in the order of the function's arguments, captures last.
    results: tensor names in the order of the function's outputs.
    control_results: nodes that must run although no output needs them.
    weights: placeholder node -> Weight.
    tensors: every tensor that a node yields -> its TensorSpec.
    bodies: function name -> graph, for each While/If/Case/PartitionedCall body called here.
    marked: the function is marked `_tftrt_convert_function`, or is a body of one that is.
    """

    name: str
    graph_def: Any  # tf.compat.v1.GraphDef
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    control_results: tuple[str, ...]
    weights: Mapping[str, Weight]
    tensors: Mapping[str, TensorSpec]
    bodies: Mapping[str, FrozenGraph] = dataclasses.field(default_factory=dict)
    marked: bool = False


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a node stays native. `rule` is a short stable key, `reason` a sentence for the user."""

    rule: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Segment:
    """Nodes of one graph that become one engine.

    name: `<common scope>/TRTEngineOp_%03d_%03d` (graph counter, segment index).
    nodes: in topological order; copied Consts and the weights' placeholders are among them.
    inputs, outputs: the tensors that cross, in a fixed order; `name` is the tensor in the graph.
    weights: the nodes among `nodes` that are weights' placeholders.
    control_inputs: nodes outside that must run before; other segments' nodes among them.
    op_counts: without constants.
    copies: the nodes among `nodes` that only depend on constants and shapes. Other segments may
      hold them too, and native nodes that take a tensor of theirs which no segment yields keep
      them outside as well.
    """

    name: str
    graph: str
    nodes: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: tuple[str, ...]
    control_inputs: tuple[str, ...]
    op_counts: Mapping[str, int]
    copies: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Drop:
    """Convertible nodes that stay native all the same, and why (size, engine limit, check, ...)."""

    graph: str
    nodes: tuple[str, ...]
    rule: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Merge:
    """What making `op` convertible would gain: `before` segments would become `after`."""

    op: str
    before: int
    after: int


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """All that segmenting one graph found."""

    segments: tuple[Segment, ...]
    refusals: Mapping[str, Refusal]  # node -> why
    drops: tuple[Drop, ...]
    merges: tuple[Merge, ...]


@dataclasses.dataclass(frozen=True)
class OnnxModel:
    """An ONNX model with its large initializers beside it.

    proto: initializers named in `weights` have data_location EXTERNAL and no bytes; small ones are
      whole. Graph inputs and outputs bear the segment's TensorFlow tensor names, in its order.
    weights: initializer name -> C-contiguous array (not copied where that can be avoided).
    """

    proto: onnx.ModelProto
    weights: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Island:
    """A node kept in a higher precision than asked for, and why."""

    node: str
    op: str
    precision: str
    reason: str


@dataclasses.dataclass(frozen=True)
class TypedOnnx:
    """A strongly typed ONNX model: inputs and outputs keep TF's dtypes."""

    model: OnnxModel
    precision: str  # "FP32", "FP16", "BF16", "INT8", "FP8", "INT4"
    islands: tuple[Island, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scaling:
    """A tensor is divided by `scale`, which broadcasts against it, rounded, and scaled back."""

    target: str  # "INT8", "FP8", or "LOW" for the low type of the rounding
    scale: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rounding:
    """Where a segment's native function rounds, to give its engine's numbers.

    low: float16 or bfloat16. outputs: tensors that are rounded to it where they are made. inputs:
    (node, index) of node inputs that are. quantized: (node, index) -> how that input is rounded
    between scales.
    """

    low: tf.DType
    outputs: frozenset[str]
    inputs: frozenset[tuple[str, int]]
    quantized: Mapping[tuple[str, int], Scaling]


@dataclasses.dataclass(frozen=True)
class ShapeRange:
    """Least, best-tuned and greatest shape of one input; for a shape tensor, of its values."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ShapeProfile:
    """One optimization profile: `shapes` of every input, `values` of those that are shapes."""

    shapes: Mapping[str, ShapeRange]
    values: Mapping[str, ShapeRange] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One call of a segment as TensorFlow ran it: inputs and outputs in its order."""

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Observation:
    """What profiles need of one call: input name -> shape, and -> values of small integer inputs.

    `values` (flat) are there for int32 and int64 inputs of rank 0 or 1 with at most 64 elements:
    the ones that may be shapes.
    """

    shapes: Mapping[str, tuple[int, ...]]
    values: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A serialized engine that a builder returned, and what it was built from.

    version: the TensorRT version that built it, e.g. "1.7.1.116".
    targets: compute capabilities, e.g. ("8.6", "8.9", "12.0").
    source_key: hash over ONNX bytes, every build setting, flavour, version and targets.
    data: the plan, or a file that holds it (large plans are not kept in memory).
    seconds: the time that the build took; 0.0 if it came from the cache.
    """

    flavour: Flavour
    version: str
    targets: tuple[str, ...]
    profiles: tuple[ShapeProfile, ...]
    precision: str
    source_key: str
    data: bytes | Path
    size: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class SegmentAsset:
    """All that one segment's asset file holds."""

    segment: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    onnx: TypedOnnx | None
    plans: tuple[Plan, ...]


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A SavedModel in memory. `signatures` are live functions that take keyword arguments.

    notes: sentences of what the user should know of it.
    """

    directory: Path
    tags: tuple[str, ...]
    root: Any  # what tf.saved_model.load returned
    signatures: Mapping[str, Any]  # signature key -> ConcreteFunction
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FrozenFunction:
    """A live function and its frozen graph.

    captures: argument node -> the eager tensor (variable handle, table handle, constant) that the
      function captured for it. The other arguments are the user's.
    """

    graph: FrozenGraph
    function: Any  # ConcreteFunction
    captures: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class EngineAttributes:
    """What every TRTEngineOp of a conversion has in common, under the stock attributes' names."""

    precision_mode: str = "FP32"
    workspace_size_bytes: int = 0
    max_cached_engines_count: int = 1
    use_calibration: bool = False
    dynamic_shape: bool = True
    profile_strategy: str = "range"
    allow_build_at_runtime: bool = True
    use_explicit_precision: bool = False


@dataclasses.dataclass(frozen=True)
class ConvertedFunction:
    """A function in which segments are TRTEngineOp nodes, live and ready to be saved.

    function: the ConcreteFunction; arguments, captures, results and structure are the original's.
    segments: all segments, those of bodies too; resources: segment name -> its TRT resource's name.
    """

    function: Any  # ConcreteFunction
    original: Any  # ConcreteFunction
    segments: tuple[Segment, ...]
    resources: Mapping[str, str]

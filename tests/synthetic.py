"""Frozen graphs of any size, drawn at random: elementwise ops, some of which no engine takes."""

import random

import tensorflow as tf

from tftrt_toolkit.artifacts import FrozenGraph, TensorSpec

CONVERTIBLE = ("Relu", "Exp", "Tanh", "AddV2", "Mul")
NATIVE = ("Lgamma", "Igamma")  # no mapping to ONNX
BINARY = ("AddV2", "Mul", "Igamma")
SHAPE = tf.TensorShape([None, 4])


def random_graph(nodes, native_share=0.1, reach=20, seed=0, constants=True, results=1):
    """A graph of about `nodes` nodes, each taking tensors of the last `reach` ones.

    Whatever nothing takes is added up into the results, so that no node is unused.
    """
    rng = random.Random(seed)
    graph_def = tf.compat.v1.GraphDef()
    graph_def.versions.producer = tf.version.GRAPH_DEF_VERSION
    draft = _Draft(graph_def)
    draft.add("Placeholder", [], "x", shape=SHAPE)
    if constants:
        draft.add("Const", [], "c", value=[[0.5, 1.0, -1.0, 2.0]])
    made = ["x"]
    while len(graph_def.node) < nodes:
        op = rng.choice(NATIVE if rng.random() < native_share else CONVERTIBLE)
        sources = rng.sample(made[-reach:], k=min(2 if op in BINARY else 1, len(made)))
        if op in BINARY and (len(sources) == 1 or (constants and rng.random() < 0.2)):
            sources = [sources[0], "c" if constants else sources[0]]
        made.append(draft.add(op, sources))
    outputs = _gather(draft, rng, results)
    return draft.frozen([f"{name}:0" for name in outputs])


def _gather(draft, rng, results):
    """Add what nothing takes up into `results` outputs."""
    loose = draft.unused() or [draft.names[-1]]
    rng.shuffle(loose)
    groups = [loose[index::results] for index in range(results)]
    outputs = []
    for group in groups:
        total = group[0] if group else loose[0]
        for name in group[1:]:
            total = draft.add("AddV2", [total, name])
        outputs.append(total)
    return outputs


class _Draft:
    def __init__(self, graph_def):
        self.graph_def = graph_def
        self.names = []
        self._used = set()

    def add(self, op, sources, name=None, shape=None, value=None):
        name = name or f"{op.lower()}_{len(self.names)}"
        node = self.graph_def.node.add(name=name, op=op, input=sources)
        key = "dtype" if op in ("Placeholder", "Const") else "T"
        node.attr[key].type = tf.float32.as_datatype_enum
        if shape is not None:
            node.attr["shape"].shape.CopyFrom(shape.as_proto())
        if value is not None:
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))
        self.names.append(name)
        self._used.update(sources)
        return name

    def unused(self):
        return [name for name in self.names if name not in self._used and name not in ("x", "c")]

    def frozen(self, results):
        tensors = {
            f"{node.name}:0": TensorSpec(
                f"{node.name}:0",
                tf.float32,
                tf.TensorShape([1, 4]) if node.op == "Const" else SHAPE,
            )
            for node in self.graph_def.node
        }
        return FrozenGraph(
            name="main",
            graph_def=self.graph_def,
            arguments=("x",),
            results=tuple(results),
            control_results=(),
            weights={},
            tensors=tensors,
        )

"""What comes before any precision: the form of the FP32 model that is calibrated and typed."""

from __future__ import annotations

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.precision.einsum import rewrite_dense_einsums
from tftrt_toolkit.precision.fold import fold_scales
from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.layer_norm import fuse_layer_norms


def prepare(model: OnnxModel) -> OnnxModel:
    """The same FP32 model with scales folded, normalizations fused, dense layers as MatMul.

    Calibration runs this form, so that each tensor of it is one that the typed model has too.
    Preparing what is prepared changes nothing.
    """
    graph = Graph(model)
    fold_scales(graph)
    fuse_layer_norms(graph)
    rewrite_dense_einsums(graph)
    return graph.finish()

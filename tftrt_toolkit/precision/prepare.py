"""What comes before any precision: the form of the FP32 model that is calibrated and typed."""

from __future__ import annotations

import functools

from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.onnx_model import content_hash
from tftrt_toolkit.precision.einsum import rewrite_dense_einsums
from tftrt_toolkit.precision.fold import fold_scales
from tftrt_toolkit.precision.graph import Graph
from tftrt_toolkit.precision.layer_norm import fuse_layer_norms


class PreparedModel(OnnxModel):
    """What `prepare` made. It stays as it is: whoever changes it takes a copy, as `Graph` does."""

    @functools.cached_property
    def digest(self) -> str:
        """Its `content_hash`."""
        return content_hash(self)


def prepare(model: OnnxModel) -> PreparedModel:
    """The same FP32 model with scales folded, normalizations fused, dense layers as MatMul.

    Calibration runs this form, so that each tensor of it is one that the typed model has too.
    What is prepared comes back as it is.
    """
    if isinstance(model, PreparedModel):
        return model
    graph = Graph(model)
    fold_scales(graph)
    fuse_layer_norms(graph)
    rewrite_dense_einsums(graph)
    finished = graph.finish()
    return PreparedModel(finished.proto, finished.weights)

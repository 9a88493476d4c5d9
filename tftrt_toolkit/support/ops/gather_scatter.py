"""Gathering, scattering and searching by index."""

from __future__ import annotations

import numpy as np

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.checks import constant_input, shape_input
from tftrt_toolkit.support.dtypes import ANY, FLOATS, INTS, NUMBERS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

gather_scatter = Family("Gather, scatter, search")

gather_scatter.add("Gather", Tparams=ANY, Tindices=INTS)
gather_scatter.add("GatherNd", Tparams=ANY, Tindices=INTS)
gather_scatter.add("GatherV2", Tparams=ANY, Tindices=INTS, checks=(constant_input(2, "axis"),))
gather_scatter.add("TensorScatterUpdate", T=ANY, Tindices=INTS)
gather_scatter.add(
    "OneHot",
    T=ANY,
    TI=INTS,
    checks=(
        constant_input(1, "depth"),
        constant_input(2, "on_value"),
        constant_input(3, "off_value"),
    ),
)
gather_scatter.add("Bucketize", T=NUMBERS)
gather_scatter.add("LowerBound", "UpperBound", T=NUMBERS)


@gather_scatter.check("ScatterNd", T=FLOATS, Tindices=INTS, checks=(shape_input(2, "shape"),))
def scatter_nd(node: NodeView) -> Refusal | None:
    """indices are constants without a repeat."""
    indices = node.constant(0)
    if indices is None:
        return Refusal("not constant", "indices may repeat, and TensorRT's ScatterND doesn't add")
    rows = indices.reshape(-1, indices.shape[-1])
    if len(np.unique(rows, axis=0)) == len(rows):
        return None
    return Refusal("attribute", "indices repeat, and TensorRT's ScatterND doesn't add")

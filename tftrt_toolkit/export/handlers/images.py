"""Patches of images."""

from __future__ import annotations

import numpy as np

from tftrt_toolkit.export.handlers.registry import Rewrite, Unmappable, maps


@maps("ExtractImagePatches")
def extract_image_patches(r: Rewrite) -> str:
    """A convolution whose kernel picks one value of the window for each output channel.

    Before: [batch, height, width, channels], after: the window's rows, columns and channels, in
    this order, as the last dimension.
    """
    (x,) = r.inputs
    shape = r.shape(x)
    if shape is None or shape[3] < 1:
        raise Unmappable("the number of channels is unknown")
    height, width = r.attribute("ksizes")[1:3]
    size = height * width * shape[3]
    kernel = np.eye(size, dtype=r.dtype(x)).reshape(size, height, width, shape[3])
    if not np.issubdtype(kernel.dtype, np.floating):
        raise Unmappable(f"the images are {kernel.dtype}, which Conv doesn't take")
    patches = r.emit(
        "Conv",
        r.emit("Transpose", x, perm=[0, 3, 1, 2]),
        r.constant(kernel.transpose(0, 3, 1, 2), kernel.dtype),
        kernel_shape=[height, width],
        strides=r.attribute("strides")[1:3],
        dilations=r.attribute("rates")[1:3],
        auto_pad="SAME_UPPER" if r.attribute("padding") == b"SAME" else "VALID",
    )
    return r.emit("Transpose", patches, perm=[0, 2, 3, 1])

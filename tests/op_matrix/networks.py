"""Convolutions, pooling, normalisation, matrix products, images, detection and signals."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.op_matrix.case import Case, case, const, f32, i32

X = f32(3, 4)
SEQUENCE = f32(2, 5, 4)
IMAGE = f32(2, 8, 8, 4)
ODD = f32(2, 7, 9, 4)
VOLUME = f32(2, 4, 5, 6, 2)
PIXELS = f32(2, 6, 6, 3, low=0, high=1)

CONVOLUTIONS = {
    "conv1d": (SEQUENCE, lambda x: tf.nn.conv1d(x, const(3, 4, 6), 1, "SAME")),
    "conv1d_stride": (SEQUENCE, lambda x: tf.nn.conv1d(x, const(3, 4, 6), 2, "VALID")),
    "conv1d_dilated": (SEQUENCE, lambda x: tf.nn.conv1d(x, const(2, 4, 6), 1, "SAME", dilations=2)),
    "conv2d_same": (IMAGE, lambda x: tf.nn.conv2d(x, const(3, 3, 4, 6), 1, "SAME")),
    "conv2d_valid": (IMAGE, lambda x: tf.nn.conv2d(x, const(3, 3, 4, 6), 1, "VALID")),
    "conv2d_stride": (ODD, lambda x: tf.nn.conv2d(x, const(3, 3, 4, 6), 2, "SAME")),
    "conv2d_stride_even": (IMAGE, lambda x: tf.nn.conv2d(x, const(2, 4, 4, 6), [2, 3], "SAME")),
    "conv2d_dilated": (
        IMAGE,
        lambda x: tf.nn.conv2d(x, const(3, 3, 4, 6), 1, "SAME", dilations=2),
    ),
    "conv2d_explicit": (
        IMAGE,
        lambda x: tf.nn.conv2d(x, const(3, 3, 4, 6), 2, [[0, 0], [1, 0], [2, 1], [0, 0]]),
    ),
    "conv2d_padded": (
        IMAGE,
        lambda x: tf.nn.conv2d(
            tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), const(3, 3, 4, 6), 2, "VALID"
        ),
    ),
    "conv2d_grouped": (IMAGE, lambda x: tf.nn.conv2d(x, const(3, 3, 2, 6), 1, "SAME")),
    "conv2d_1x1": (IMAGE, lambda x: tf.nn.conv2d(x, const(1, 1, 4, 6), 1, "SAME")),
    "conv2d_bias_relu": (
        IMAGE,
        lambda x: tf.nn.relu(
            tf.nn.bias_add(tf.nn.conv2d(x, const(3, 3, 4, 6), 1, "SAME"), const(6))
        ),
    ),
    "conv2d_scalar_bias": (
        IMAGE,
        lambda x: tf.nn.conv2d(x, const(3, 3, 4, 6), 1, "SAME") + 0.5,
    ),
    "conv2d_large_kernel": (IMAGE, lambda x: tf.nn.conv2d(x, const(3, 3, 4, 128), 1, "SAME")),
    "conv2d_two": (
        IMAGE,
        lambda x: tf.nn.conv2d(
            tf.nn.relu(tf.nn.conv2d(x, const(3, 3, 4, 6), 1, "SAME")), const(1, 1, 6, 2), 1, "SAME"
        ),
    ),
    "depthwise": (
        IMAGE,
        lambda x: tf.nn.depthwise_conv2d(x, const(3, 3, 4, 1), [1, 1, 1, 1], "SAME"),
    ),
    "depthwise_multiplier": (
        ODD,
        lambda x: tf.nn.depthwise_conv2d(x, const(3, 3, 4, 3), [1, 2, 2, 1], "SAME"),
    ),
    "depthwise_dilated": (
        IMAGE,
        lambda x: tf.nn.depthwise_conv2d(
            x, const(3, 3, 4, 1), [1, 1, 1, 1], "SAME", dilations=[2, 2]
        ),
    ),
    "separable": (
        IMAGE,
        lambda x: tf.nn.separable_conv2d(
            x, const(3, 3, 4, 2), const(1, 1, 8, 5), [1, 1, 1, 1], "SAME"
        ),
    ),
    "atrous": (IMAGE, lambda x: tf.nn.atrous_conv2d(x, const(3, 3, 4, 6), 2, "VALID")),
    "conv2d_transpose": (
        IMAGE,
        lambda x: tf.nn.conv2d_transpose(x, const(3, 3, 6, 4), [2, 16, 16, 6], 2, "SAME"),
    ),
    "conv2d_transpose_valid": (
        IMAGE,
        lambda x: tf.nn.conv2d_transpose(x, const(3, 3, 6, 4), [2, 17, 17, 6], 2, "VALID"),
    ),
    "conv2d_transpose_dynamic": (
        IMAGE,
        lambda x: tf.nn.conv2d_transpose(
            x, const(2, 2, 6, 4), tf.stack([tf.shape(x)[0], 16, 16, 6]), 2, "SAME"
        ),
    ),
    "conv1d_transpose": (
        SEQUENCE,
        lambda x: tf.nn.conv1d_transpose(x, const(3, 6, 4), [2, 10, 6], 2, "SAME"),
    ),
    "conv3d": (VOLUME, lambda x: tf.nn.conv3d(x, const(3, 3, 3, 2, 4), [1] * 5, "SAME")),
    "conv3d_stride": (
        VOLUME,
        lambda x: tf.nn.conv3d(x, const(2, 3, 3, 2, 4), [1, 2, 2, 2, 1], "VALID"),
    ),
    "conv3d_transpose": (
        VOLUME,
        lambda x: tf.nn.conv3d_transpose(
            x, const(2, 2, 2, 3, 2), [2, 8, 10, 12, 3], [1, 2, 2, 2, 1], "SAME"
        ),
    ),
    "dilation2d": (
        IMAGE,
        lambda x: tf.nn.dilation2d(x, const(3, 3, 4), [1] * 4, "SAME", "NHWC", [1] * 4),
    ),
}
POOLS = {
    "max": (IMAGE, lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID")),
    "max_same": (ODD, lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME")),
    "max_negative": (ODD - 5, lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME")),
    "average": (IMAGE, lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID")),
    "average_same": (ODD, lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME")),
    "max_1d": (SEQUENCE, lambda x: tf.nn.max_pool1d(x, 2, 2, "SAME")),
    "average_1d": (SEQUENCE, lambda x: tf.nn.avg_pool1d(x, 2, 2, "SAME")),
    "max_3d": (VOLUME, lambda x: tf.nn.max_pool3d(x, 2, 2, "VALID")),
    "average_3d": (VOLUME, lambda x: tf.nn.avg_pool3d(x, 2, 2, "SAME")),
    "max_argmax": (IMAGE, lambda x: tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")),
    "global_average": (IMAGE, lambda x: tf.reduce_mean(x, [1, 2])),
    "global_max": (IMAGE, lambda x: tf.reduce_max(x, [1, 2])),
    "fractional": (IMAGE, lambda x: tf.nn.fractional_max_pool(x, 2.0, seed=1)[0]),
}
NORMS = {
    "fused_batch": lambda x: (
        tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=const(4, low=0.5),
            offset=const(4),
            mean=const(4),
            variance=const(4, low=0.5),
            is_training=False,
        ).y
    ),
    "batch": lambda x: tf.nn.batch_normalization(
        x, const(4), const(4, low=0.5), const(4), const(4, low=0.5), 1e-3
    ),
    "conv_batch": lambda x: tf.nn.batch_normalization(
        tf.nn.conv2d(x, const(3, 3, 4, 4), 1, "SAME"),
        const(4),
        const(4, low=0.5),
        const(4),
        const(4, low=0.5),
        1e-3,
    ),
    "local_response": lambda x: tf.nn.lrn(x, 2),
    "layer": lambda x: (
        (x - tf.reduce_mean(x, -1, True))
        * tf.math.rsqrt(tf.math.reduce_variance(x, -1, True) + 1e-5)
    ),
    "moments": lambda x: tf.nn.moments(x, [1, 2])[0],
}
PRODUCTS = {
    "matmul_const": lambda x: tf.matmul(x, const(4, 6)),
    "matmul_large": lambda x: tf.matmul(x, const(4, 2000)),
    "matmul_transpose": lambda x: tf.matmul(x, x, transpose_b=True),
    "matmul_transpose_a": lambda x: tf.matmul(x, x, transpose_a=True),
    "batch": lambda x: tf.matmul(x[:, None] * 1.0, tf.ones([4, 3])),
    "batch_adjoint": lambda x: tf.matmul(x[None], x[None], adjoint_b=True),
    "dense_bias": lambda x: tf.nn.bias_add(tf.matmul(x, const(4, 6)), const(6)),
    "tensordot": lambda x: tf.tensordot(x, const(4, 6), 1),
    "einsum_ij_jk": lambda x: tf.einsum("ij,jk->ik", x, const(4, 6)),
    "einsum_heads": lambda x: tf.einsum("bc,chd->bhd", x, const(4, 2, 3)),
    "einsum_outer": lambda x: tf.einsum("bi,bj->bij", x, x),
    "einsum_ellipsis": lambda x: tf.einsum("...c,cd->...d", x, const(4, 3)),
    "einsum_trace": lambda x: tf.einsum("ij->i", x),
    "matvec": lambda x: tf.linalg.matvec(x, const(4)),
    "cross": lambda x: tf.linalg.cross(x[:, :3], x[:, 1:]),
    "matrix_inverse": lambda x: tf.linalg.inv(x[:3, :3]),
    "determinant": lambda x: tf.linalg.det(x[:3, :3]) + x,
    "cholesky": lambda x: tf.linalg.cholesky(tf.matmul(x, x, transpose_b=True) + tf.eye(3)),
    "outer_difference": lambda x: tf.reduce_sum((x[:, None] - x[None]) ** 2, -1),
}
IMAGES = {
    "resize_bilinear": lambda x: tf.image.resize(x, [9, 12]),
    "resize_bilinear_down": lambda x: tf.image.resize(x, [3, 4]),
    "resize_nearest": lambda x: tf.image.resize(x, [9, 12], "nearest"),
    "resize_nearest_double": lambda x: tf.image.resize(x, [12, 12], "nearest"),
    "resize_bicubic": lambda x: tf.image.resize(x, [12, 12], "bicubic"),
    "resize_area": lambda x: tf.image.resize(x, [4, 4], "area"),
    "resize_antialias": lambda x: tf.image.resize(x, [3, 4], antialias=True),
    "resize_align_corners": lambda x: tf.compat.v1.image.resize_bilinear(
        x, [9, 11], align_corners=True
    ),
    "resize_legacy": lambda x: tf.compat.v1.image.resize_bilinear(x, [9, 11]),
    "resize_legacy_nearest": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [9, 11]),
    "resize_nearest_align": lambda x: tf.compat.v1.image.resize_nearest_neighbor(
        x, [9, 11], align_corners=True
    ),
    "resize_dynamic": lambda x: tf.image.resize(x, 2 * tf.shape(x)[1:3]),
    "central_crop": lambda x: tf.image.central_crop(x, 0.5),
    "crop_to_box": lambda x: tf.image.crop_to_bounding_box(x, 1, 2, 3, 4),
    "pad_to_box": lambda x: tf.image.pad_to_bounding_box(x, 1, 2, 10, 10),
    "resize_with_pad": lambda x: tf.image.resize_with_pad(x, 8, 12),
    "flip_left_right": tf.image.flip_left_right,
    "flip_up_down": tf.image.flip_up_down,
    "rot90": tf.image.rot90,
    "transpose": tf.image.transpose,
    "adjust_brightness": lambda x: tf.image.adjust_brightness(x, 0.2),
    "adjust_contrast": lambda x: tf.image.adjust_contrast(x, 1.5),
    "adjust_gamma": lambda x: tf.image.adjust_gamma(x, 0.7),
    "adjust_hue": lambda x: tf.image.adjust_hue(x, 0.1),
    "adjust_saturation": lambda x: tf.image.adjust_saturation(x, 1.5),
    "rgb_to_grayscale": tf.image.rgb_to_grayscale,
    "grayscale_to_rgb": lambda x: tf.image.grayscale_to_rgb(x[..., :1]),
    "rgb_to_hsv": tf.image.rgb_to_hsv,
    "hsv_to_rgb": tf.image.hsv_to_rgb,
    "rgb_to_yuv": tf.image.rgb_to_yuv,
    "standardize": tf.image.per_image_standardization,
    "total_variation": lambda x: tf.image.total_variation(x),
    "sobel": lambda x: tf.image.sobel_edges(x),
    "extract_patches": lambda x: tf.image.extract_patches(
        x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"
    ),
    "crop_and_resize": lambda x: tf.image.crop_and_resize(x, [[0.1, 0.1, 0.8, 0.9]], [1], [4, 4]),
    "to_float": lambda x: tf.image.convert_image_dtype(tf.cast(x * 255, tf.uint8), tf.float32),
    "psnr": lambda x: tf.image.psnr(x, x * 0.9, 1.0),
}


CASES: dict[str, Case] = {}
CASES |= {
    f"conv.{name}": case(f, x, static="transpose" in name) for name, (x, f) in CONVOLUTIONS.items()
}
CASES |= {f"pool.{name}": case(f, x) for name, (x, f) in POOLS.items()}
CASES |= {f"norm.{name}": case(f, IMAGE) for name, f in NORMS.items()}
CASES |= {f"product.{name}": case(f, X, static=True) for name, f in PRODUCTS.items()}
CASES |= {f"image.{name}": case(f, PIXELS) for name, f in IMAGES.items()}
CASES |= {
    "product.dynamic_matmul": case(lambda x: tf.matmul(x, const(4, 6)), X),
    "product.batched": case(lambda x: tf.matmul(x, x, transpose_b=True), SEQUENCE),
    "product.attention": case(
        lambda x: tf.matmul(tf.nn.softmax(tf.matmul(x, x, transpose_b=True) / 2.0), x), SEQUENCE
    ),
    "product.half": case(lambda x: tf.matmul(x, tf.cast(const(4, 6), tf.float16)), X.astype("f2")),
    "product.double": case(
        lambda x: tf.matmul(x, tf.cast(const(4, 6), tf.float64)), X.astype("f8")
    ),
    "product.integer": case(lambda x: tf.matmul(x, tf.constant([[1, 2]] * 4)), i32(3, 4)),
    "detect.nms": case(
        lambda b, s: tf.image.non_max_suppression(b, s, 3, 0.5),
        np.float32([[0, 0, 1, 1], [0, 0, 0.9, 1], [0.5, 0.5, 2, 2], [3, 3, 4, 4]]),
        np.float32([0.9, 0.8, 0.7, 0.6]),
        static=True,
    ),
    "detect.combined_nms": case(
        lambda b, s: tf.image.combined_non_max_suppression(b[:, :, None], s, 2, 3, 0.5),
        np.float32([[[0, 0, 1, 1], [0, 0, 0.9, 1], [0.5, 0.5, 2, 2]]]),
        f32(1, 3, 2, low=0, high=1),
        static=True,
    ),
    "signal.rfft": case(lambda x: tf.abs(tf.signal.rfft(x)), X),
    "signal.stft": case(lambda x: tf.abs(tf.signal.stft(x, 8, 4)), f32(2, 32)),
    "signal.frame": case(lambda x: tf.signal.frame(x, 8, 4), f32(2, 32)),
    "signal.mfcc_matrix": case(
        lambda x: tf.matmul(x, tf.signal.linear_to_mel_weight_matrix(5, 9, 8000)), f32(3, 9)
    ),
    "quantize.fake_args": case(lambda x: tf.quantization.fake_quant_with_min_max_args(x, -2, 2), X),
    "quantize.fake_vars": case(
        lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -2.0, 2.0), X
    ),
}

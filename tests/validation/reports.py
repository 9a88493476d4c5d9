"""A report with something in every part of it."""

import dataclasses

import numpy as np
import tensorflow as tf

from tests.validation import small_models
from tftrt_toolkit.validation import ValidationOptions, validate
from tftrt_toolkit.validation.result import Finding, LatencyResult


def full_report():
    original = small_models.function()
    values = small_models.weights()
    values["dense"] = np.clip(values["dense"], -0.35, 0.35)

    def labelled():
        for images in small_models.batches():
            yield images, original(images=tf.constant(images))["logits"].numpy().argmax(axis=1)

    options = ValidationOptions(labelled=True, main_output="logits", precision="INT8")
    report = validate(original, small_models.function(values=values), labelled, options=options)
    latency = LatencyResult(
        "a/rather/long/directory/of_a_model", 16, 50, 1.2, 1.5, 2.2, 1e4, 9**9, None
    )
    return dataclasses.replace(
        report,
        findings=(
            Finding(
                "scope/TRTEngineOp_000_000", 18.3, "engine", "a/long/scope/of_the_model/norm_3",
                "norm_3:0", "keep norm_3 in FP32: SNR 18 -> 52 dB", "norm_3: FP32",
            ),
            Finding("TRTEngineOp_000_001", 88.0, "engine"),
        ),
        latency=(latency, latency),
        executed={"TRTEngineOp_000_000": "emulation"},
        warnings=("something <b>to</b> note",),
    )  # fmt: skip

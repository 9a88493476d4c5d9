"""GPUs are seen by tests that are marked for them, and only when these were asked for.

All others mean the CPU, on whatever machine they run.
"""

import os


def pytest_configure(config):
    if config.option.markexpr == "gpu":
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # ONNX Runtime needs memory beside it
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

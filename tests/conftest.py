"""What all tests rely on, on whatever machine and however they were started.

GPUs are seen by tests that are marked for them, and only when these were asked for. All others mean
the CPU.
"""

import os
import signal


def pytest_configure(config):
    if config.option.markexpr == "gpu":
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # ONNX Runtime needs memory beside it
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    # What a shell starts with "&" ignores Ctrl-C, and so would every process that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

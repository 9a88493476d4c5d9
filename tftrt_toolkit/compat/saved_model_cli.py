"""TensorFlow's `saved_model_cli`, with its `convert ... tensorrt` at work again.

    python -m tftrt_toolkit.compat.saved_model_cli convert --dir IN --output_dir OUT \\
        --tag_set serve tensorrt --precision_mode FP16

All other subcommands are TensorFlow's, and models with engines load in them too.
"""

from __future__ import annotations

from tensorflow.python.tools import saved_model_cli

from tftrt_toolkit import runtime
from tftrt_toolkit.compat.tensorflow_api import enable_tensorflow_api


def main() -> None:
    """Register the ops, put the converter in place, and hand over to TensorFlow's command."""
    runtime.load_ops()
    enable_tensorflow_api()
    saved_model_cli.main()


if __name__ == "__main__":
    main()

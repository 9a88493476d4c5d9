"""Write a converted model into a Triton model repository.

  export_triton --saved_model_dir=CONVERTED --repository=MODELS --name=digits

Where one engine holds the whole model, it becomes one model of the repository; else an ensemble of
its engines and, as ONNX, of what TensorFlow runs between them. TensorRT's plans are served as they
are; engines without one, those of TensorRT-RTX too, as ONNX by Triton's ONNX Runtime backend.

Exit codes: 0 done; 1 Triton can't serve it, said in one line; 2 wrong flags; 130 interrupted.
"""

from __future__ import annotations

import sys

from absl import flags

from tftrt_toolkit.cli import common
from tftrt_toolkit.serving import export_triton
from tftrt_toolkit.serving.triton import FORMS

_MODEL = flags.DEFINE_string("saved_model_dir", None, "The converted SavedModel.")
_REPOSITORY = flags.DEFINE_string("repository", None, "Triton's model repository.")
_NAME = flags.DEFINE_string("name", None, "The model's name in it.")
_SIGNATURE = flags.DEFINE_string("signature_key", "serving_default", "The signature to serve.")
_TAGS = flags.DEFINE_list("saved_model_tags", ["serve"], "Tags of the model's meta graph.")
_FORM = flags.DEFINE_enum("form", "auto", FORMS, "Of engines: TensorRT plans, ONNX, or the best.")
_MAX_BATCH = flags.DEFINE_integer(
    "max_batch_size",
    None,
    "Greatest batch; 0: clients give whole shapes; default: the plans'.",
)
_DYNAMIC = flags.DEFINE_bool("dynamic_batching", False, "Let Triton join requests.")
_VERSION = flags.DEFINE_integer("version", 1, "Number of the version's directory.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace models of these names.")


def export() -> int:
    """Export as the flags say; returns the exit code."""
    models = export_triton(
        _MODEL.value,
        _REPOSITORY.value,
        _NAME.value,
        signature_key=_SIGNATURE.value,
        form=_FORM.value,
        max_batch_size=_MAX_BATCH.value,
        dynamic_batching=_DYNAMIC.value,
        version=_VERSION.value,
        tags=_TAGS.value,
        overwrite=_OVERWRITE.value,
    )
    for model in models:
        print(f"{model.name}: {model.form}")
    print(f"saved {_REPOSITORY.value}", file=sys.stderr)
    return common.EXIT_OK


def main() -> None:
    """Entry point of `scripts/export_triton.py`."""
    common.run(export, required=["saved_model_dir", "repository", "name"])

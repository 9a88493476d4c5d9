"""A model run on files, and its predictions as rows."""

from tftrt_toolkit.inference.run import InferenceOptions, Row, predict
from tftrt_toolkit.inference.writer import to_csv, to_json

__all__ = ["InferenceOptions", "Row", "predict", "to_csv", "to_json"]

"""The TrackableResources that tie a SavedModel's segments to their assets, as graph parts."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context, execute
from tensorflow.python.framework import op_def_library
from tensorflow.python.trackable import asset, resource

from tftrt_toolkit.saved_model import read_saved_model

CHILD = "trt_engine_resources"


@dataclasses.dataclass(frozen=True)
class EngineResources:
    """The engines' part of a SavedModel.

    meta_graph: of a SavedModel that holds the resources alone, under its root's child `CHILD`.
    files: resource name -> the name of its asset file.
    """

    meta_graph: Any
    files: Mapping[str, str]


class TRTEngineResource(resource.TrackableResource):
    """Makes a segment's resource, and initializes it from its asset when the model is loaded."""

    def __init__(self, name: str, filename: str, max_cached_engines_count: int) -> None:
        """Track the asset `filename`; make no resource yet."""
        super().__init__()
        self._name = name
        self._max_cached_engines_count = max_cached_engines_count
        self._filename = self._track_trackable(
            asset.Asset(filename), "_serialized_trt_resource_filename"
        )

        # Made at once, so that the traced functions capture it instead of making another.
        self._resource_handle = self._create_resource()

    def _create_resource(self) -> Any:
        name = self._name.encode()
        if tf.executing_eagerly():
            attributes = ("resource_name", name)
            (handle,) = execute.execute(
                b"CreateTRTResourceHandle", 1, [], attributes, context.context()
            )
            return handle
        return op_def_library.apply_op("CreateTRTResourceHandle", resource_name=name)

    def _initialize(self) -> None:
        op_def_library.apply_op(
            "InitializeTRTResource",
            resource_handle=self.resource_handle,
            filename=self._filename.asset_path,
            max_cached_engines_count=self._max_cached_engines_count,
        )


def engine_resources(files: Mapping[str, str], max_cached_engines_count: int) -> EngineResources:
    """Let TensorFlow itself write the resources, with empty assets, and keep the graph parts.

    So they have the form that this TensorFlow writes and reads, and no asset is copied on the way.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = tf.Module()
        resources = []
        for name, filename in files.items():
            path = Path(scratch, "assets", filename)
            path.parent.mkdir(exist_ok=True)
            path.touch()
            resources.append(TRTEngineResource(name, str(path), max_cached_engines_count))
        setattr(root, CHILD, resources)
        directory = Path(scratch, "model")
        tf.saved_model.save(root, str(directory))
        (meta_graph,) = read_saved_model(directory).meta_graphs
    return EngineResources(meta_graph, dict(files))

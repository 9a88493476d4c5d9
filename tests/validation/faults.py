"""Converted models, and copies of them with one fault put into an engine's asset."""

import dataclasses
import shutil

import numpy as np
import onnx

from tests.validation import small_models
from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2
from tftrt_toolkit.artifacts import SegmentAsset
from tftrt_toolkit.asset import AssetFile, write_asset


def convert(source, target, precision="FP32", **options):
    """No shapes are given, so no engines are built; the typed ONNX is all that is needed here."""
    converter = TrtGraphConverterV2(
        str(source),
        use_dynamic_shape=True,
        precision_mode=precision,
        minimum_segment_size=1,
        options=ToolkitOptions(**options),
    )
    converter.convert()
    converter.save(str(target))
    return target


def with_fault(converted, target, segment, change):
    """A copy in whose asset `change(proto, weights)` was applied to the typed ONNX."""
    shutil.copytree(converted, target)
    (path,) = (target / "assets").glob(f"*{segment}")
    asset = AssetFile.open(path)
    typed = asset.load_onnx()
    proto = onnx.ModelProto()
    proto.CopyFrom(typed.model.proto)
    weights = dict(typed.model.weights)
    change(proto, weights)
    model = dataclasses.replace(typed.model, proto=proto, weights=weights)
    typed = dataclasses.replace(typed, model=model)
    path.unlink()
    write_asset(path, SegmentAsset(asset.segment, asset.inputs, asset.outputs, typed, ()))
    return target


def change_weight(part, change):
    """A change of the one weight that has as many elements as this one of `small_models`."""
    size = small_models.weights()[part].size

    def apply(proto, weights):
        found = [name for name, array in weights.items() if array.size == size]
        found += [
            tensor.name
            for tensor in proto.graph.initializer
            if tensor.name not in weights and np.prod(tensor.dims) == size
        ]
        (name,) = found
        if name in weights:
            weights[name] = np.ascontiguousarray(change(weights[name].copy()))
            return
        (tensor,) = (one for one in proto.graph.initializer if one.name == name)
        values = change(onnx.numpy_helper.to_array(tensor).copy())
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))

    return apply


def swap_outputs(proto, _):
    first, second = (value.name for value in proto.graph.output)
    names = {first: second, second: first}
    for node in proto.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]


def flip_largest(values):
    index = np.abs(values).argmax()
    values.flat[index] = -values.flat[index]
    return values


def put_nan(values):
    values.flat[3] = np.nan
    return values

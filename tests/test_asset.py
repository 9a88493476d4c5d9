"""The asset file: round trips, alignment, and every way in which a file can be wrong."""

import dataclasses
import hashlib
import json
import os
import zipfile

import ml_dtypes
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from tftrt_toolkit import asset_writer
from tftrt_toolkit.artifacts import (
    Island,
    OnnxModel,
    Plan,
    SegmentAsset,
    ShapeProfile,
    ShapeRange,
    TensorSpec,
    TypedOnnx,
)
from tftrt_toolkit.asset import AssetFile, write_asset
from tftrt_toolkit.errors import AssetError, InternalError
from tftrt_toolkit.manifest import TunedExecutor

PROFILE = ShapeProfile(
    {"x:0": ShapeRange((1, 4), (8, 4), (8, 4))}, {"s:0": ShapeRange((1,), (2,), (3,))}
)


def external(name, array, data_type=None):
    tensor = TensorProto(name=name, data_location=TensorProto.EXTERNAL)
    tensor.data_type = data_type or helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.dims.extend(array.shape)
    return tensor


def make_onnx(weights=None):
    weights = weights or {"w": np.arange(12, dtype=np.float32).reshape(4, 3)}
    small = numpy_helper.from_array(np.ones(3, np.float32), "b")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x:0", "w", "b"], ["y:0"])],
        "g",
        [helper.make_tensor_value_info("x:0", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y:0", TensorProto.FLOAT, ["n", 3])],
        [small, *(external(name, array) for name, array in weights.items())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return TypedOnnx(OnnxModel(model, weights), "FP16", (Island("n", "Exp", "FP32", "overflow"),))


def make_plan(data=b"serialized", key="k1", **changes):
    size = len(data) if isinstance(data, bytes) else data.stat().st_size
    plan = Plan(
        "tensorrt_rtx", "1.7.1.116", ("8.6", "8.9"), (PROFILE,), "FP16", key, data, size, 1.5
    )
    return dataclasses.replace(plan, **changes)


def make_asset(**changes):
    asset = SegmentAsset(
        segment="scope/TRTEngineOp_000_000",
        inputs=(TensorSpec("x:0", tf.float32, tf.TensorShape([None, 4])),),
        outputs=(TensorSpec("y:0", tf.bfloat16, tf.TensorShape(None)),),
        onnx=make_onnx(),
        plans=(make_plan(),),
    )
    return dataclasses.replace(asset, **changes)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "asset"
    write_asset(path, make_asset())
    return path


def test_round_trip(path):
    asset = AssetFile.open(path)
    expected = make_asset()
    assert asset.segment == expected.segment
    assert asset.inputs[0].shape.as_list() == [None, 4]
    assert asset.outputs[0].dtype == tf.bfloat16
    assert asset.outputs[0].shape.rank is None
    (entry,) = asset.plans
    plan = expected.plans[0]
    assert (entry.flavour, entry.version, entry.targets) == (
        plan.flavour,
        plan.version,
        plan.targets,
    )
    assert entry.profiles == (PROFILE,)
    assert (entry.part.size, entry.seconds, entry.source_key) == (10, 1.5, "k1")
    assert entry.part.name == "plans/tensorrt_rtx-1.7.1.116-8.6_8.9.plan"
    assert bytes(asset.read_plan(entry)) == b"serialized"
    typed = asset.load_onnx()
    assert (typed.precision, typed.islands) == (expected.onnx.precision, expected.onnx.islands)
    np.testing.assert_array_equal(typed.model.weights["w"], expected.onnx.model.weights["w"])
    assert not typed.model.weights["w"].flags.writeable
    assert [node.op_type for node in typed.model.proto.graph.node] == ["Gemm"]


def test_weights_are_mapped_and_aligned(tmp_path):
    weights = {
        "a": np.ones((3, 5), np.float32),
        "bf": np.arange(7).astype(ml_dtypes.bfloat16),
        "scalar": np.array(3, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "bool": np.array([True, False]),
        "strided": np.arange(12, dtype=np.float16).reshape(3, 4).T,
    }
    write_asset(tmp_path / "a", make_asset(onnx=make_onnx(weights), plans=()))
    loaded = AssetFile.open(tmp_path / "a").load_onnx().model.weights
    for name, array in weights.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    assert loaded["a"].ctypes.data % 64 == 0
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_four_bit_weights_stay_packed(tmp_path):
    typed = make_onnx()
    del typed.model.proto.graph.initializer[1]
    packed = np.array([0x21, 0x03], np.uint8)
    tensor = external("w", np.zeros(3, np.uint8), TensorProto.INT4)
    typed.model.proto.graph.initializer.append(tensor)
    onnx_model = OnnxModel(typed.model.proto, {"w": packed})
    write_asset(tmp_path / "a", make_asset(onnx=TypedOnnx(onnx_model, "INT4"), plans=()))
    loaded = AssetFile.open(tmp_path / "a").load_onnx().model
    assert list(loaded.proto.graph.initializer[1].dims) == [3]
    np.testing.assert_array_equal(loaded.weights["w"], packed)


def test_equal_assets_are_equal_files(tmp_path):
    write_asset(tmp_path / "a", make_asset())
    write_asset(tmp_path / "b", make_asset())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_model_that_was_given_is_left_alone(tmp_path):
    asset = make_asset()
    before = asset.onnx.model.proto.SerializeToString(deterministic=True)
    write_asset(tmp_path / "a", asset)
    assert asset.onnx.model.proto.SerializeToString(deterministic=True) == before


def test_without_onnx(tmp_path):
    write_asset(tmp_path / "a", make_asset(onnx=None))
    asset = AssetFile.open(tmp_path / "a")
    assert bytes(asset.read_plan(asset.plans[0])) == b"serialized"
    with pytest.raises(AssetError, match="no ONNX"):
        asset.load_onnx()


def test_plans_are_added_and_replaced(path, tmp_path):
    spilled = tmp_path / "spilled.plan"
    spilled.write_bytes(b"from a file")
    asset = AssetFile.open(path)
    more = asset.with_plans([make_plan(b"new", key="k1"), make_plan(spilled, key="k2")])
    assert [bytes(more.read_plan(entry)) for entry in more.plans] == [b"new", b"from a file"]
    assert len({entry.part.name for entry in more.plans}) == 2
    assert more.load_onnx().precision == "FP16"
    assert more.inputs[0].name == "x:0"


def test_winners_are_kept_by_device_and_shape(path):
    first = TunedExecutor("GPU A", {"x:0": (1, 4)}, "xla", {"xla": 0.1, "native": 0.2})
    second = dataclasses.replace(first, shapes={"x:0": (8, 4)})
    better = dataclasses.replace(first, executor="native", seconds={"native": 0.05})
    asset = AssetFile.open(path).with_tuned([first, second]).with_tuned([better])
    assert AssetFile.open(path).manifest.tuned == (second, better)
    assert bytes(asset.read_plan(asset.plans[0])) == b"serialized"


def test_a_failed_write_leaves_the_old_file(path):
    before = path.read_bytes()
    with pytest.raises(InternalError, match="declared"):
        write_asset(path, make_asset(plans=(make_plan(size=99),)))
    typed = make_onnx()
    lost = TypedOnnx(OnnxModel(typed.model.proto, {}), "FP16")
    with pytest.raises(InternalError, match="'w' has neither bytes"):
        write_asset(path, make_asset(onnx=lost))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["asset"]


def rebuild(path, change):
    """Write the zip anew, its members changed by `change(dict)`, as (name, bytes) pairs."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    pairs = change(members) or list(members.items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in pairs:
            archive.writestr(name, data)


def edit_manifest(**changes):
    def change(members):
        manifest = json.loads(members["manifest.json"])
        members["manifest.json"] = json.dumps(manifest | changes).encode()

    return change


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("manifest.json") and None, "no manifest.json"),
        (lambda m: m.update({"manifest.json": b"{"}), "manifest can't be read"),
        (lambda m: m.update({"manifest.json": b"[]"}), "manifest can't be read"),
        (lambda m: m.update({"manifest.json": b"{}"}), "isn't one of this toolkit"),
        (edit_manifest(version=99), "format version is 99"),
        (edit_manifest(plans=[{}]), "manifest can't be read"),
        (edit_manifest(inputs=[{"name": "x", "dtype": "float99", "shape": []}]), "can't be read"),
        (edit_manifest(plans=[]), "disagree about plans/"),
        (lambda m: m.pop("segment.onnx") and None, "disagree about segment.onnx"),
        (lambda m: m.update({"segment.onnx": b"longer" * 99}), "disagree about segment.onnx"),
        (lambda m: m.update({"extra": b""}), "disagree about extra"),
        (lambda m: m.update({"../evil": b""}), "'../evil' doesn't belong"),
        (lambda m: m.update({"plans/../../evil": b""}), "doesn't belong"),
        (lambda m: m.update({"/etc/evil": b""}), "doesn't belong"),
        (lambda m: m.update({"a\\b": b""}), "doesn't belong"),
        (lambda m: [*m.items(), ("segment.onnx", b"")], "'segment.onnx' doesn't belong"),
    ],
)
def test_wrong_members(path, change, message):
    rebuild(path, change)
    with pytest.raises(AssetError, match=message) as caught:
        AssetFile.open(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("member", ["segment.onnx", "segment.weights", "plans/"])
def test_a_flipped_byte_is_found_when_the_part_is_read(path, member):
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        (info,) = (info for info in archive.infolist() if info.filename.startswith(member))
        content = archive.read(info)
    start = data.index(content)
    data[start + len(content) // 2] ^= 1
    path.write_bytes(data)
    asset = AssetFile.open(path)
    with pytest.raises(AssetError, match=f"{info.filename} is damaged"):
        asset.read_plan(asset.plans[0]) if member == "plans/" else asset.load_onnx()


def test_every_truncation_is_refused(path):
    data = path.read_bytes()
    for length in {0, 1, 10, *range(20, len(data), max(len(data) // 60, 1)), len(data) - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(AssetError):
            AssetFile.open(path)


def test_foreign_files(tmp_path):
    for name, content in {"text": b"hello" * 100, "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AssetError, match="not an asset of this toolkit"):
            AssetFile.open(tmp_path / name)
    with pytest.raises(AssetError, match="no such asset"):
        AssetFile.open(tmp_path / "missing")
    for endless in ("/dev/zero", tmp_path):
        with pytest.raises(AssetError, match="isn't a file"):
            AssetFile.open(endless)
    with zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", "{}" * 100)
    with pytest.raises(AssetError, match="compressed"):
        AssetFile.open(tmp_path / "packed")


def test_onnx_that_points_outside_its_weights(path):
    def change(members):
        model = onnx.ModelProto.FromString(members["segment.onnx"])
        for entry in model.graph.initializer[1].external_data:
            if entry.key == "offset":
                entry.value = "4096"
        members["segment.onnx"] = model.SerializeToString()
        manifest = json.loads(members["manifest.json"])
        manifest["onnx"]["size"] = len(members["segment.onnx"])
        manifest["onnx"]["sha256"] = hashlib.sha256(members["segment.onnx"]).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()

    rebuild(path, change)
    with pytest.raises(AssetError, match="w lies outside"):
        AssetFile.open(path).load_onnx()


@pytest.mark.slow
def test_weights_of_several_gigabytes(tmp_path):
    """5 GB of weights, written from a sparse map and read back without being copied."""
    size = 5 << 30
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(size)
    big = np.memmap(tmp_path / "sparse", np.float32, "r", shape=(1 << 20, size >> 22))
    typed = make_onnx({"w": np.ones(1, np.float32), "big": big})
    write_asset(tmp_path / "a", make_asset(onnx=typed))
    asset = AssetFile.open(tmp_path / "a")
    loaded = asset.load_onnx().model.weights["big"]
    assert loaded.shape == big.shape
    assert bytes(asset.read_plan(asset.plans[0])) == b"serialized"


def test_a_part_of_many_chunks_is_hashed_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(asset_writer, "_CHUNK", 7)
    blocks = [bytes(range(20)), np.arange(50, dtype=np.uint8), b"", b"end"]
    with asset_writer.AssetWriter(tmp_path / "a") as writer:
        part = writer.add("part", blocks)
    whole = b"".join(bytes(block) for block in blocks)
    assert (part.size, part.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.read("part") == whole

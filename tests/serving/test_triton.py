"""Converted models in Triton's layout, against Triton's published schema."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.cli import processes
from tests.digits import MODEL as DIGITS
from tests.serving.triton_repository import check_ensemble, read_config, run_repository, shown
from tftrt_toolkit import ShapeRange, ToolkitOptions, TrtGraphConverterV2, export_triton
from tftrt_toolkit.artifacts import Plan, SegmentAsset, ShapeProfile
from tftrt_toolkit.asset import AssetFile, write_asset
from tftrt_toolkit.errors import (
    ConversionError,
    InvalidArgumentError,
    ModelError,
    OutputExistsError,
)
from tftrt_toolkit.inspection import engine_assets
from tftrt_toolkit.serving import pieces as pieces_module

IMAGES = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
SHAPES = {"image": ShapeRange((1, 8, 8, 1), (4, 8, 8, 1), (16, 8, 8, 1))}


def convert(source, directory, **options):
    minimum = options.pop("minimum_segment_size", 1)
    converter = TrtGraphConverterV2(
        str(source),
        precision_mode=options.pop("precision_mode", "FP16"),
        use_dynamic_shape=True,
        minimum_segment_size=minimum,
        options=ToolkitOptions(compute_capabilities=["8.6"], **options),
    )
    converter.convert()
    converter.save(str(directory))
    return directory


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return convert(DIGITS, tmp_path_factory.mktemp("whole") / "model", input_shapes=SHAPES)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """Three engines, and TensorFlow between them."""
    directory = tmp_path_factory.mktemp("cut") / "model"
    return convert(DIGITS, directory, input_shapes=SHAPES, native_ops=["MaxPool"])


def with_tensorrt_plans(model, directory, *targets):
    """The model with plans as TensorRT would have built them, of invented bytes."""
    shutil.copytree(model, directory)
    for path in engine_assets(directory):
        asset = AssetFile.open(path)
        profiles = tuple(
            ShapeProfile({spec.name: ShapeRange(*([size, *spec.shape[1:]] for size in sizes))
                          for spec in asset.inputs})
            for sizes in ((1, 4, 16), (1, 1, 8))
        )  # fmt: skip
        plans = tuple(
            Plan(
                "tensorrt", "10.16.0", (target,), profiles, "FP16", target, target.encode(), 3, 1.0
            )
            for target in targets
        )
        write_asset(
            path,
            SegmentAsset(asset.segment, asset.inputs, asset.outputs, asset.load_onnx(), plans),
        )
    return directory


def run_model(directory, **inputs):
    function = tf.saved_model.load(str(directory)).signatures["serving_default"]
    found = function(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in found.items()}


def test_one_engine_becomes_one_model_under_the_signature_s_names(whole, tmp_path):
    (model,) = export_triton(whole, tmp_path, "digits", dynamic_batching=True)
    assert (model.name, model.form) == ("digits", "onnx")
    config = read_config(tmp_path, "digits")
    assert config.backend == "onnxruntime"
    assert config.max_batch_size == 16
    assert config.HasField("dynamic_batching")
    assert shown(config.input) == {"image": (11, [8, 8, 1])}
    assert shown(config.output) == {"logits": (11, [10])}
    found = run_repository(tmp_path, "digits", {"image": IMAGES})
    expected = run_model(whole, image=IMAGES)
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=0, atol=0.05)


def test_a_plan_of_tensorrt_is_served_with_an_ensemble_for_the_names(whole, tmp_path):
    directory = with_tensorrt_plans(whole, tmp_path / "model", "8.6", "8.9")
    models = export_triton(directory, tmp_path / "repository", "digits")
    assert [model.form for model in models] == ["plan", "ensemble"]
    config = read_config(tmp_path / "repository", models[0].name)
    assert config.platform == "tensorrt_plan"
    assert config.max_batch_size == 16
    assert dict(config.cc_model_filenames) == {"8.6": "model_8.6.plan", "8.9": "model_8.9.plan"}
    assert list(config.instance_group[0].profile) == ["0", "1"]
    for target in ("8.6", "8.9"):
        file = tmp_path / "repository" / models[0].name / "1" / f"model_{target}.plan"
        assert file.read_bytes() == target.encode()
    ensemble = read_config(tmp_path / "repository", "digits")
    (step,) = ensemble.ensemble_scheduling.step
    assert dict(step.input_map) == {config.input[0].name: "image"}
    assert dict(step.output_map) == {config.output[0].name: "logits"}
    check_ensemble(tmp_path / "repository", "digits")
    assert list((tmp_path / "repository" / "digits" / "1").iterdir()) == []


def test_plans_and_onnx_in_one_ensemble(cut, tmp_path):
    directory = with_tensorrt_plans(cut, tmp_path / "model", "8.9")
    models = export_triton(directory, tmp_path / "repository", "digits", form="plan")
    forms = {model.name.removeprefix("digits").rstrip("012"): model.form for model in models}
    assert forms == {"_trtengineop_000_": "plan", "_native_": "onnx", "": "ensemble"}
    check_ensemble(tmp_path / "repository", "digits")


def test_plans_of_one_gpu_for_several_shapes_are_no_one_plan(whole, tmp_path):
    directory = with_tensorrt_plans(whole, tmp_path / "model", "8.6", "8.6")
    with pytest.raises(ConversionError, match="a plan for each shape, and Triton loads one"):
        export_triton(directory, tmp_path / "repository", "digits", form="plan")
    (model,) = export_triton(directory, tmp_path / "repository", "digits")
    assert model.form == "onnx"


@pytest.mark.parametrize("max_batch_size", [None, 0])
def test_several_engines_become_an_ensemble_with_what_is_between(cut, tmp_path, max_batch_size):
    models = export_triton(cut, tmp_path, "digits", max_batch_size=max_batch_size)
    assert [model.form for model in models] == ["onnx"] * 5 + ["ensemble"]
    config = read_config(tmp_path, "digits")
    assert len(config.ensemble_scheduling.step) == 5
    batch = [-1] if max_batch_size == 0 else []
    assert config.max_batch_size == (0 if max_batch_size == 0 else 16)
    assert shown(config.input) == {"image": (11, [*batch, 8, 8, 1])}
    found = run_repository(tmp_path, "digits", {"image": IMAGES})
    expected = run_model(cut, image=IMAGES)
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=0, atol=0.05)


SIGNATURE = [
    tf.TensorSpec([None, 16], tf.float32, name="x"),
    tf.TensorSpec([], tf.float32, name="scale"),
    tf.TensorSpec([None], tf.int32, name="rows"),
    tf.TensorSpec([None], tf.float32, name="unused"),
]


class Model(tf.Module):
    """Scalars, integers, several inputs and outputs, native nodes beside and between engines."""

    def __init__(self, between):
        generator = tf.random.Generator.from_seed(1)
        self.left = tf.Variable(generator.normal([16, 32]))
        self.right = tf.Variable(generator.normal([32, 8]))
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer([0, 1], [1.0, 2.0]), 0.5
        )
        self.between = between

    @tf.function(input_signature=SIGNATURE)
    def serve(self, x, scale, rows, unused):
        hidden = tf.nn.relu(tf.tanh(x) @ self.left * scale)
        chosen = self.between(self, tf.gather(hidden, rows), rows)
        return {
            "chosen": tf.nn.softmax(chosen @ self.right), "count": tf.size(rows), "same": x
        }  # fmt: skip


def nothing(_model, hidden, _rows):
    return hidden


def unmapped(_model, hidden, _rows):
    return tf.math.special.bessel_j0(hidden)


def table(model, hidden, rows):
    return hidden * model.table.lookup(rows)[:, None]


def loop(model, hidden, _rows):
    return tf.while_loop(
        lambda index, _: index < 3,
        lambda index, value: (index + 1, tf.nn.relu(value @ tf.transpose(model.left) @ model.left)),
        [tf.constant(0), hidden],
    )[1]


def converted_model(between, directory, **options):
    model = Model(between)
    tf.saved_model.save(model, str(directory / "plain"), signatures=model.serve)
    return convert(directory / "plain", directory / "model", precision_mode="FP32", **options)


def test_branches_scalars_and_unused_inputs(tmp_path):
    model = converted_model(nothing, tmp_path, native_ops=["Tanh", "GatherV2"])
    models = export_triton(model, tmp_path / "repository", "branching")
    assert models[-1].form == "ensemble"
    assert len(models) > 3
    config = read_config(tmp_path / "repository", "branching")
    assert config.max_batch_size == 0
    check_ensemble(tmp_path / "repository", "branching")
    assert shown(config.input) == {"x": (11, [-1, 16]), "scale": (11, [1]), "rows": (8, [-1])}
    assert shown(config.output) == {
        "chosen": (11, [-1, 8]),
        "count": (8, [1]),
        "same": (11, [-1, 16]),
    }
    inputs = {
        "x": np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32),
        "scale": np.array(0.7, np.float32),
        "rows": np.array([3, 0, 4], np.int32),
    }
    found = run_repository(tmp_path / "repository", "branching", inputs)
    expected = run_model(model, **inputs, unused=np.zeros(1, np.float32))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def test_a_first_dimension_that_is_no_batch(tmp_path):
    class Joining(tf.Module):
        def __init__(self):
            self.weight = tf.Variable(tf.random.stateless_normal([16, 32], [1, 2]))

        @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
        def serve(self, x):
            halves = tf.tanh(tf.reshape(tf.nn.relu(x @ self.weight), [-1, 16]))
            return {"y": tf.reshape(tf.nn.relu(halves @ self.weight), [-1, 64])}

    model = Joining()
    tf.saved_model.save(model, str(tmp_path / "plain"), signatures=model.serve)
    shapes = {"x": ShapeRange((1, 16), (2, 16), (8, 16))}
    directory = convert(
        tmp_path / "plain", tmp_path / "model", input_shapes=shapes, native_ops=["Tanh"]
    )
    export_triton(directory, tmp_path / "repository", "joining")
    assert read_config(tmp_path / "repository", "joining").max_batch_size == 0
    with pytest.raises(InvalidArgumentError, match=r"max_batch_size=8 needs a batch .* another"):
        export_triton(directory, tmp_path / "other", "joining", max_batch_size=8)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (unmapped, "has no ONNX form .*BesselJ0.*export_tf_serving"),
        (table, "LookupTableFindV2 .* works on a resource, which only TensorFlow has"),
        (loop, "While .* has engines inside"),
    ],
)
def test_what_triton_cannot_serve_is_refused_and_nothing_is_written(between, message, tmp_path):
    model = converted_model(between, tmp_path)
    with pytest.raises(ConversionError, match=message):
        export_triton(model, tmp_path / "repository", "model")
    assert not (tmp_path / "repository").exists()


def test_pieces_that_give_something_else_are_refused(cut, tmp_path, monkeypatch):
    original = pieces_module.export_segment

    def wrong(graph, segment):
        model = original(graph, segment)
        for node in model.proto.graph.node:
            node.op_type = node.op_type.replace("MaxPool", "AveragePool")
        return model

    monkeypatch.setattr(pieces_module, "export_segment", wrong)
    with pytest.raises(ConversionError, match="give another 'logits' than the model"):
        export_triton(cut, tmp_path, "digits")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"form": "plan"}, ConversionError, r"no plan of TensorRT.*\(tensorrt_rtx was built\)"),
        ({"form": "engine"}, InvalidArgumentError, "form='engine' is not known"),
        ({"version": 0}, InvalidArgumentError, "version=0 must be at least 1"),
        ({"signature_key": "other"}, ModelError, "has no signature 'other'"),
        ({"name": "../digits"}, InvalidArgumentError, "can't be a directory's"),
        ({"name": ".."}, InvalidArgumentError, "can't be a directory's"),
    ],
)
def test_arguments_that_cannot_work(whole, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        export_triton(whole, tmp_path, **{"name": "digits", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_engines_and_one_that_is_there_already(whole, tmp_path):
    with pytest.raises(ModelError, match="has no engines"):
        export_triton(DIGITS, tmp_path, "digits")
    export_triton(whole, tmp_path, "digits")
    with pytest.raises(OutputExistsError):
        export_triton(whole, tmp_path, "digits")
    export_triton(whole, tmp_path, "digits", overwrite=True)


def test_the_command(whole, tmp_path):
    flags = [f"--saved_model_dir={whole}", f"--repository={tmp_path}", "--name=digits"]
    flags += ["--form=onnx", "--max_batch_size=8"]
    result = processes.run(processes.script("export_triton"), *flags)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "digits: onnx\n"
    assert read_config(tmp_path, "digits").max_batch_size == 8

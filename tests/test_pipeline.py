"""What later stages blame is refused with its reason, and the rest still converts."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import (
    ShapeRange,
    ToolkitOptions,
    TrtGraphConverterV2,
    engines,
    pipeline,
    typed_segments,
)
from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.check import verify_segment
from tftrt_toolkit.engine import build_plans
from tftrt_toolkit.errors import EngineBuildError, ExportError, InvalidArgumentError

INPUT = np.random.default_rng(3).normal(size=(2, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """Two dense layers with a named node between them."""

    class Model(tf.Module):
        def __init__(self):
            generator = tf.random.Generator.from_seed(2)
            self.first = tf.Variable(generator.normal([16, 80]))
            self.second = tf.Variable(generator.normal([80, 80]))

        @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
        def serve(self, x):
            hidden = tf.nn.relu(tf.matmul(x, self.first) * 0.5 + 0.25)
            middle = tf.nn.softsign(hidden, name="middle")
            return {"y": tf.nn.softmax(tf.nn.relu(tf.matmul(middle, self.second) * 0.5) - 1.0)}

    model = Model()
    directory = str(tmp_path_factory.mktemp("pipeline") / "dense")
    tf.saved_model.save(model, directory, signatures={"serving_default": model.serve})
    return directory


def converter_of(model_dir, **options):
    shapes = {"x": ShapeRange((1, 16), (2, 16), (4, 16))}
    return TrtGraphConverterV2(
        model_dir,
        use_dynamic_shape=True,
        options=ToolkitOptions(compute_capabilities=("8.9",), input_shapes=shapes, **options),
    )


def convert(model_dir):
    converter = converter_of(model_dir)
    function = converter.convert()
    expected = tf.saved_model.load(model_dir).signatures["serving_default"](x=INPUT)["y"]
    np.testing.assert_allclose(function(x=tf.constant(INPUT))["y"], expected, atol=1e-6)
    return converter.report()


def middle(segment):
    return next(name for name in segment.nodes if name.endswith("middle"))


def has_middle(segment):
    return any(name.endswith("middle") for name in segment.nodes)


def refused_middle(report):
    (entry,) = [one for one in report["refused"] if one["op"] == "Softsign"]
    return entry["reason"]


def blame_middle(graph, segment, onnx, samples, export):
    result = verify_segment(graph, segment, onnx, samples, export)
    if not has_middle(segment):
        return result
    blamed = {middle(segment): Refusal("check", "its ONNX gives another result")}
    return type(result)(result.differences, result.bound, blamed, "output y differs")


def test_nothing_is_blamed_in_a_sound_model(model_dir):
    report = convert(model_dir)
    assert len(report["segments"]) == 1
    assert report["refused"] == []


def test_a_node_that_fails_the_check_stays_native(model_dir, monkeypatch):
    monkeypatch.setattr(pipeline, "verify_segment", blame_middle)
    report = convert(model_dir)
    assert len(report["segments"]) == 2
    assert refused_middle(report) == "its ONNX gives another result"


def test_a_node_that_has_no_onnx_form_stays_native(model_dir, monkeypatch):
    export = pipeline.export_segment

    def faulty(graph, segment):
        if has_middle(segment):
            raise ExportError(segment.name, (middle(segment),), "no ONNX operator is like it")
        return export(graph, segment)

    monkeypatch.setattr(pipeline, "export_segment", faulty)
    report = convert(model_dir)
    assert len(report["segments"]) == 2
    assert refused_middle(report) == "no ONNX operator is like it"


def test_a_segment_without_a_culprit_stays_native_whole(model_dir, monkeypatch):
    export = pipeline.export_segment

    def faulty(graph, segment):
        if has_middle(segment):
            raise ExportError(segment.name, (), "nobody knows why")
        return export(graph, segment)

    monkeypatch.setattr(pipeline, "export_segment", faulty)
    with pytest.raises(Exception, match="nobody knows why"):
        convert(model_dir)


def test_what_the_builder_refuses_is_segmented_again(model_dir, monkeypatch):
    build = engines.build_plans

    def faulty(typed, name, profiles, config):
        names = [node.name for node in typed.model.proto.graph.node]
        culprits = tuple(name for name in names if "middle" in name)
        if culprits:
            raise EngineBuildError(f"{name}: the builder refuses it: no kernel", culprits)
        return build(typed, name, profiles, config)

    monkeypatch.setattr(engines, "build_plans", faulty)
    report = convert(model_dir)
    assert len(report["segments"]) == 2
    assert all(len(segment["plans"]) == 1 for segment in report["segments"])
    assert "no kernel" in refused_middle(report)


def save(directory, serve):
    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(directory), signatures={"serving_default": serve})
    return str(directory)


def test_larger_inputs_are_tried_where_small_ones_fail(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.float32, name="image")])
    def serve(image):
        with tf.control_dependencies([tf.debugging.assert_greater(tf.shape(image)[1], 30)]):
            image = tf.identity(image)
        return {"y": tf.nn.relu(tf.tanh(image * 2.0) - 0.5) + 1.0}

    converter = TrtGraphConverterV2(save(tmp_path / "large", serve), use_dynamic_shape=True)
    converter.analyze()
    (signature,) = converter._conversion.signatures
    shapes = [
        sample.inputs[0].shape
        for candidate in signature.candidates
        for sample in candidate.record.samples
    ]
    assert shapes == [(2, 32, 3)]


def test_segments_run_alone_where_no_made_up_input_runs_the_model(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="jpeg")])
    def serve(jpeg):
        image = tf.cast(tf.io.decode_jpeg(jpeg[0], channels=3), tf.float32)
        return {"y": tf.nn.relu(tf.tanh(image * 2.0) - 0.5) + 1.0}

    converter = TrtGraphConverterV2(save(tmp_path / "jpeg", serve), use_dynamic_shape=True)
    converter.analyze()
    (signature,) = converter._conversion.signatures
    (candidate,) = signature.candidates
    assert candidate.record.calls == 0
    assert len(candidate.record.samples) == 1


@pytest.fixture
def built(monkeypatch):
    """Names of the segments that were handed to the builder."""
    calls = []

    def counted(typed, name, *arguments):
        calls.append(name)
        return build_plans(typed, name, *arguments)

    monkeypatch.setattr(engines, "build_plans", counted)
    return calls


def test_engines_are_built_beside_the_check(model_dir, monkeypatch):
    building = threading.Event()
    threads = []

    def slow(*arguments):
        threads.append(threading.current_thread())
        assert building.wait(60)  # for as long as the check runs, engines can be built
        return verify_segment(*arguments)

    def started(typed, name, *arguments):
        building.set()
        return build_plans(typed, name, *arguments)

    monkeypatch.setattr(pipeline, "verify_segment", slow)
    monkeypatch.setattr(engines, "build_plans", started)
    report = convert(model_dir)
    assert [len(one["plans"]) for one in report["segments"]] == [1]
    assert threading.main_thread() not in threads


def test_engines_of_a_segment_that_fails_its_check_are_forgotten(model_dir, built, monkeypatch):
    monkeypatch.setattr(pipeline, "verify_segment", blame_middle)
    report = convert(model_dir)
    assert len(report["segments"]) == 2
    assert all(one["plans"] for one in report["segments"])
    assert len(built) == 3  # the whole, then its two halves


@pytest.mark.parametrize(
    "options",
    [{"check": False}, {"max_error": 1.0}],
)
def test_without_a_check_to_wait_for_engines_are_built_once(model_dir, built, options):
    converter_of(model_dir, **options).convert()
    assert len(built) == 1


def test_an_error_met_early_is_raised_once_the_check_has_passed(model_dir, monkeypatch):
    checked = []

    def watched(*arguments):
        checked.append(arguments)
        return verify_segment(*arguments)

    def fail(*_):
        raise InvalidArgumentError("no such thing")

    monkeypatch.setattr(pipeline, "verify_segment", watched)
    monkeypatch.setattr(typed_segments.SegmentTyper, "_type", fail)
    with pytest.raises(InvalidArgumentError, match="no such thing"):
        convert(model_dir)
    assert checked

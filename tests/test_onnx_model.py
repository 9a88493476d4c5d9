import dataclasses

import numpy as np
import onnx
import pytest

from tftrt_toolkit import onnx_model
from tftrt_toolkit.artifacts import OnnxModel
from tftrt_toolkit.errors import ConversionError, SessionError
from tftrt_toolkit.onnx_model import (
    content_hash,
    external_tensor,
    run_session,
    save,
    to_proto,
    to_session,
    with_input_shapes,
)

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
X = np.ones((1, 2), np.float32)
EXPECTED = X @ KERNEL + 1


@pytest.fixture
def model():
    graph = onnx.parser.parse_graph(
        "product (float[N, 2] x) => (float[N, 3] y) <float one = {1}>"
        "{ t = MatMul(x, kernel) y = Add(t, one) }"
    )
    graph.initializer.append(external_tensor("kernel", KERNEL))
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8
    )
    return OnnxModel(proto, {"kernel": KERNEL})


@pytest.mark.parametrize("options", [{}, {"weights_as_inputs": True}, {"optimize": False}])
def test_session_gives_the_result(model, options):
    session = to_session(model, **options)
    np.testing.assert_array_equal(run_session(session, model, [X])[0], EXPECTED)
    assert [value.name for value in model.proto.graph.input] == ["x"], "the model is untouched"


def test_scalars_may_be_numpy_scalars():
    graph = onnx.parser.parse_graph("g (float x) => (float y) { y = Neg(x) }")
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8
    )
    scalar = OnnxModel(proto, {})
    assert run_session(to_session(scalar), scalar, [np.float32(2)])[0] == -2


def test_refusal_is_a_session_error_of_one_line(model):
    model.proto.graph.node[0].op_type = "NoSuchOp"
    with pytest.raises(SessionError, match="NoSuchOp") as caught:
        to_session(model)
    assert "\n" not in str(caught.value)


def test_failing_run_is_a_session_error(model):
    with pytest.raises(SessionError, match="dimensions"):
        run_session(to_session(model), model, [np.ones((1, 7), np.float32)])


def test_input_shapes_are_fixed_in_a_copy(model):
    fixed = with_input_shapes(model, {"x": (4, 2)})
    session = to_session(fixed)
    assert session.get_inputs()[0].shape == [4, 2]
    assert session.get_outputs()[0].shape == [4, 3]
    assert to_session(model).get_inputs()[0].shape == ["N", 2]
    x = np.ones((4, 2), np.float32)
    np.testing.assert_array_equal(run_session(session, fixed, [x])[0], np.tile(EXPECTED, (4, 1)))


def test_whole_proto_passes_the_checker(model):
    proto = to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    np.testing.assert_array_equal(
        onnx.numpy_helper.to_array(proto.graph.initializer[1]), model.weights["kernel"]
    )
    assert model.proto.graph.initializer[1].data_location == onnx.TensorProto.EXTERNAL


def test_whole_proto_beyond_the_limit_is_refused(model, monkeypatch):
    monkeypatch.setattr(onnx_model, "PROTO_LIMIT", 100)
    with pytest.raises(ConversionError, match="save it with its weights beside it"):
        to_proto(model)


def test_saved_model_is_read_by_onnx_and_onnx_runtime(model, tmp_path):
    import onnxruntime

    path = save(model, tmp_path / "new")
    onnx.checker.check_model(str(path), full_check=True)
    loaded = onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[1])
    np.testing.assert_array_equal(loaded, KERNEL)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], EXPECTED)


def test_saved_weights_are_aligned(model, tmp_path):
    both = dataclasses.replace(model, weights={"other": KERNEL[:1], "kernel": KERNEL})
    save(both, tmp_path)
    entries = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    offset = {entry.key: entry.value for entry in entries.graph.initializer[1].external_data}
    assert int(offset["offset"]) == onnx_model.ALIGNMENT
    assert (tmp_path / "model.weights").stat().st_size == onnx_model.ALIGNMENT + KERNEL.nbytes


def test_hash_sees_graph_and_weights(model):
    first = content_hash(model)
    assert content_hash(OnnxModel(model.proto, {"kernel": KERNEL.copy()})) == first
    assert content_hash(OnnxModel(model.proto, {"kernel": KERNEL + 1})) != first
    assert content_hash(OnnxModel(model.proto, {"kernel": KERNEL.reshape(3, 2)})) != first
    changed = onnx.ModelProto()
    changed.CopyFrom(model.proto)
    changed.graph.node[1].op_type = "Sub"
    assert content_hash(dataclasses.replace(model, proto=changed)) != first

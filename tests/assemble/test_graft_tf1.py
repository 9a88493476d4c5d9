import numpy as np
import pytest
import tensorflow as tf

from tests.assemble.cutting import cut
from tests.tf1_models import INPUTS, save_tf1_model, v1
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function, save_model
from tftrt_toolkit.freeze import freeze_function, load_model


@pytest.fixture(scope="module", autouse=True)
def ops():
    runtime.load_ops()


@pytest.fixture(scope="module", params=["resource", "reference", "resource-loop", "reference-loop"])
def original(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tf1") / "model"
    kind, _, loop = request.param.partition("-")
    return save_tf1_model(directory, use_resource=kind == "resource", loop=bool(loop))


@pytest.fixture(scope="module")
def expected(original):
    signatures = tf.saved_model.load(str(original)).signatures
    return {key: signatures[key](**inputs) for key, inputs in INPUTS.items()}


def convert(model, key, counter):
    frozen = freeze_function(model.signatures[key], key)
    name = f"TRTEngineOp_{counter:03d}_000"
    segment = cut(frozen.graph, lambda node: node.name in ("MatMul", "MatMul_1"), name)
    return assemble_function(frozen, {key: [segment]}, EngineAttributes())


@pytest.fixture(scope="module")
def saved(original, tmp_path_factory):
    directory = tmp_path_factory.mktemp("converted")
    model = load_model(original)
    converted = {key: convert(model, key, index) for index, key in enumerate(INPUTS)}
    asset = directory / "asset"
    asset.write_bytes(b"an engine")
    assets = {name: asset for item in converted.values() for name in item.resources.values()}
    save_model(model, converted, assets, directory / "model")
    return directory / "model"


@pytest.mark.parametrize("key", INPUTS)
def test_the_live_function_gives_the_same(original, expected, key):
    model = load_model(original)
    got = convert(model, key, 0).function(**INPUTS[key])
    for name, value in expected[key].items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5)


def test_tensorflow_2_loads_it(saved, expected):
    signatures = tf.saved_model.load(str(saved)).signatures
    for key, inputs in INPUTS.items():
        for name, value in signatures[key](**inputs).items():
            np.testing.assert_allclose(value, expected[key][name], rtol=1e-4, atol=1e-5)
        types = [operation.type for operation in signatures[key].graph.get_operations()]
        assert types.count("TRTEngineOp") == 1


def test_tensorflow_1_loads_it(saved, expected):
    with tf.Graph().as_default(), v1.Session() as session:
        graph = v1.saved_model.load(session, ["serve"], str(saved))
        for key, inputs in INPUTS.items():
            signature = graph.signature_def[key]
            feeds = {signature.inputs[name].name: value.numpy() for name, value in inputs.items()}
            for name, info in signature.outputs.items():
                value = session.run(info.name, feeds)
                np.testing.assert_allclose(value, expected[key][name].numpy(), rtol=1e-4, atol=1e-5)


def test_it_loads_and_freezes_again(saved):
    model = load_model(saved)
    frozen = freeze_function(model.signatures["serving_default"], "again")
    assert any(node.op == "TRTEngineOp" for node in frozen.graph.graph_def.node)

import pytest
import tensorflow as tf

from tftrt_toolkit.errors import ModelError
from tftrt_toolkit.freeze import freeze_function, load_model, signature


@pytest.fixture
def model_dir(tmp_path):
    module = tf.Module()
    module.kernel = tf.Variable(tf.ones([64, 128]))

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, "rows")])
    def serve(rows):
        return {"products": rows @ module.kernel}

    tf.saved_model.save(module, str(tmp_path / "model"), {"serving_default": serve, "again": serve})
    return tmp_path / "model"


def lines(error):
    return str(error.value).splitlines()


def test_tags_default_to_serve(model_dir):
    model = load_model(model_dir)
    assert model.tags == ("serve",)
    assert model.directory == model_dir
    assert set(model.signatures) == {"serving_default", "again"}


def test_a_signature_outlives_the_loaded_model(model_dir):
    function = load_model(model_dir).signatures["serving_default"]
    assert function(rows=tf.ones([2, 64]))["products"].shape == [2, 128]
    assert len(freeze_function(function, "main").graph.weights) == 1


def test_a_missing_directory_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"no SavedModel in .*nowhere") as error:
        load_model(tmp_path / "nowhere")
    assert len(lines(error)) == 1


@pytest.mark.parametrize("content", [b"not a proto \xff\xff", b""])
def test_a_damaged_graph_is_one_line(model_dir, content):
    (model_dir / "saved_model.pb").write_bytes(content)
    with pytest.raises(ModelError, match="damaged") as error:
        load_model(model_dir)
    assert len(lines(error)) == 1


def test_a_damaged_checkpoint_is_one_line(model_dir):
    for path in (model_dir / "variables").iterdir():
        path.unlink()
    with pytest.raises(ModelError, match="can't be loaded") as error:
        load_model(model_dir)
    assert len(lines(error)) == 1


def test_unknown_tags_list_the_known(model_dir):
    with pytest.raises(ModelError, match=r"no graph tagged 'gpu': the tags .* are 'serve'"):
        load_model(model_dir, ["gpu"])


def test_an_unknown_signature_lists_the_known(model_dir):
    model = load_model(model_dir)
    assert signature(model, "again") is model.signatures["again"]
    with pytest.raises(ModelError, match="no signature 'predict': it has 'again', 'serving_def"):
        signature(model, "predict")


def test_a_text_proto_loads(model_dir):
    from google.protobuf import text_format

    from tftrt_toolkit.saved_model import read_saved_model

    text = text_format.MessageToString(read_saved_model(model_dir))
    (model_dir / "saved_model.pb").unlink()
    (model_dir / "saved_model.pbtxt").write_text(text)
    assert "again" in load_model(model_dir).signatures

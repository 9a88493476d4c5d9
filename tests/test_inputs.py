import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import inputs
from tftrt_toolkit.errors import InputError

SPECS = {
    "image": tf.TensorSpec([None, 4], tf.float32, name="image"),
    "scale": tf.TensorSpec([], tf.int32, name="scale"),
}
IMAGE = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    "batch",
    [
        {"image": IMAGE, "scale": 3},
        (IMAGE, np.int32(3)),
        [tf.constant(IMAGE), tf.constant(3)],
    ],
)
def test_every_structure_binds_by_name(batch):
    bound = inputs.bind(batch, SPECS, "a batch")
    assert list(bound) == ["image", "scale"]
    assert bound["image"].shape == (2, 4)
    assert bound["scale"].numpy() == 3


@pytest.mark.parametrize("value", ["text", 2.5, 7, True, ["a", "b"], [[1, 2]]])
def test_every_tensor_is_an_array(value):
    tensor = tf.constant(value)
    array = inputs.to_numpy(tensor)
    assert isinstance(array, np.ndarray)
    assert (array.shape, tf.as_dtype(array.dtype)) == (tensor.shape, tensor.dtype)
    assert tf.reduce_all(tf.constant(array) == tensor)


def test_a_lone_array_is_the_only_input():
    (tensor,) = inputs.bind(IMAGE, {"image": SPECS["image"]}, "a batch").values()
    assert tensor.dtype == tf.float32


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"image": IMAGE}, r"has inputs \['image'\], but the signature takes \['image', 'scale'\]"),
        ((IMAGE,), "has 1 inputs, but the signature takes 2"),
        ((IMAGE.astype(np.float64), 1), r"is float64\[2, 4\].*takes float32\[None, 4\]"),
        ((IMAGE[:, :3], 1), r"is float32\[2, 3\]"),
        (("text", 1), "is no float32"),
    ],
)
def test_what_does_not_fit_is_one_line(batch, message):
    with pytest.raises(InputError, match=message) as caught:
        inputs.bind(batch, SPECS, "batch 7 of input_fn")
    assert "batch 7 of input_fn" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_batches_of_a_generator_function_and_of_a_dataset():
    specs = {"image": SPECS["image"]}
    dataset = tf.data.Dataset.from_tensor_slices(np.zeros((6, 4), np.float32)).batch(4)
    sizes = [batch["image"].shape[0] for batch in inputs.batches(dataset, specs, "data")]
    assert sizes == [4, 2]
    function = iter([IMAGE]).__iter__
    assert len(list(inputs.batches(function, specs, "input_fn"))) == 1


def test_an_input_function_that_returns_nothing():
    with pytest.raises(InputError, match="generator function"):
        list(inputs.batches(lambda: None, SPECS, "input_fn"))


def test_signature_specs_come_in_positional_order():
    @tf.function(input_signature=[tf.TensorSpec([1], name="b"), tf.TensorSpec([2], name="a")])
    def function(b, a):
        return {"y": tf.reduce_sum(a) + b}

    module = tf.Module()
    module.function = function
    concrete = function.get_concrete_function()
    assert set(inputs.signature_specs(concrete)) == {"a", "b"}


def test_npz_files_that_are_none(tmp_path):
    np.savez(tmp_path / "good.npz", a=IMAGE)
    whole = (tmp_path / "good.npz").read_bytes()
    damaged = {"text": b"no archive", "nothing": b"", "cut": whole[:-30], "flipped": b""}
    damaged["flipped"] = whole.replace(IMAGE.tobytes(), b"\1" * IMAGE.nbytes)
    for name, content in damaged.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    np.save(tmp_path / "array.npy", IMAGE)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([None]))
    for name in (*damaged, "array", "objects", "missing"):
        with pytest.raises(InputError, match=rf"{name}\.npz can't be read as \.npz: \S.*savez"):
            inputs.read_npz(tmp_path / f"{name}.npz")
    assert inputs.read_npz(tmp_path / "good.npz")["a"].shape == (2, 4)

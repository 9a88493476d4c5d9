"""One per cent of one weight tensor's values replaced: no model passes so in FP32."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.models.zoo import MODELS
from tests.validation import small_models
from tftrt_toolkit.examples import digits
from tftrt_toolkit.validation import validate

SAVED_MODELS = Path(__file__).parents[2] / "saved_models"
SEEDS = (0, 1)
# Of fewer values one per cent is less than one value.
LEAST_VALUES = 100
# A bias of the keys adds the same to all scores of a query, and softmax takes it out again.
WITHOUT_EFFECT = "key/bias"


def digits_model(name, _):
    images = [batch.images for batch in digits.load_held_out().batches(100)]
    return str(SAVED_MODELS / name), images[:1]


def zoo_model(name, folder):
    MODELS[name].save(folder / name)
    return str(folder / name), [MODELS[name].inputs(seed) for seed in range(2)]


def small_model(name, folder):
    return str(small_models.save(folder / name)), small_models.batches()


@pytest.mark.parametrize(
    ("name", "make", "tensors"),
    [("digits_cnn", digits_model, 6), ("digits_vit", digits_model, 30), ("lstm", zoo_model, 4),
     ("small", small_model, 1)],
)  # fmt: skip
def test_it_fails_in_fp32(name, make, tensors, tmp_path):
    directory, inputs = make(name, tmp_path)
    original, other = (tf.saved_model.load(directory) for _ in range(2))
    changed = other.signatures["serving_default"]
    tried, passed = set(), []
    for variable in changed.variables:
        values = variable.numpy()
        if values.size < LEAST_VALUES or WITHOUT_EFFECT in variable.name:
            continue
        tried.add(variable.name)
        for seed in SEEDS:
            variable.assign(with_replaced(values, np.random.default_rng(seed)))
            report = validate(original.signatures["serving_default"], changed, inputs)
            if report.passed:
                passed.append((variable.name, seed))
        variable.assign(values)
    assert validate(original.signatures["serving_default"], changed, inputs).passed
    assert len(tried) >= tensors
    assert passed == []


def with_replaced(values, rng):
    """A hundredth of the values drawn anew from the tensor's own mean and spread."""
    flat = values.reshape(-1).copy()
    count = flat.size // 100
    where = rng.choice(flat.size, count, replace=False)
    flat[where] = rng.normal(flat.mean(), flat.std(), count)
    return flat.reshape(values.shape)

"""Converted models under load: threads, two models in a process, others that come and go."""

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tftrt_toolkit import ToolkitOptions, TrtGraphConverterV2, load, runtime_stats

MODEL = Path(__file__).resolve().parents[1] / "saved_models" / "digits_cnn"
THREADS, CALLS = 16, 40


@pytest.fixture(scope="module", params=["CPU:0", pytest.param("GPU:0", marks=pytest.mark.gpu)])
def models(request, tmp_path_factory):
    """Directories of three conversions, each of several segments."""
    if not tf.config.list_physical_devices(request.param[:3]):
        pytest.skip("no GPU here")
    found = []
    for precision in ("FP32", "FP16", "FP32"):
        converter = TrtGraphConverterV2(
            str(MODEL),
            use_dynamic_shape=True,
            precision_mode=precision,
            options=ToolkitOptions(native_ops=["MaxPool"]),
        )
        converter.convert()
        found.append(str(tmp_path_factory.mktemp("models") / f"model{len(found)}"))
        converter.save(found[-1])
    return found


def test_sixteen_threads_two_models_and_a_third_that_comes_and_goes(models):
    first = load(models[0], executors=["onnxruntime"]).signatures["serving_default"]
    second = load(models[1], executors=["onnxruntime"]).signatures["serving_default"]
    images = [np.random.default_rng(n).random((1 + n % 5, 8, 8, 1), np.float32) for n in range(9)]
    expected = [[f(image=image)["logits"].numpy() for image in images] for f in (first, second)]
    assert max(np.abs(a - b).max() for a, b in zip(*expected, strict=True)) > 1e-6  # FP16 is there
    mismatches, finished = [], []

    def call(seed):
        for step in range(CALLS):
            which, index = (seed + step) % 2, (seed * 7 + step) % len(images)
            found = (first, second)[which](image=images[index])["logits"].numpy()
            if not np.allclose(found, expected[which][index], rtol=1e-5, atol=1e-5):
                mismatches.append((which, index))
        finished.append(seed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        other = load(models[2], executors=["onnxruntime"])
        found = other.signatures["serving_default"](image=images[0])["logits"].numpy()
        np.testing.assert_allclose(found, expected[0][0], rtol=1e-3, atol=1e-3)
        del other
        gc.collect()
    for thread in threads:
        thread.join()
    assert mismatches == []
    assert sorted(finished) == list(range(THREADS))
    assert not [one.reason for one in runtime_stats() if one.failed]

"""Good manifests become jobs; bad ones one line that names file, model and key."""

import pytest

from tftrt_toolkit import InputDirectory, ShapeRange
from tftrt_toolkit.batch import load_manifest
from tftrt_toolkit.errors import InvalidArgumentError


def load(tmp_path, text):
    path = tmp_path / "batch.yaml"
    path.write_text(text)
    return load_manifest(path)


def models(entry, top=""):
    return f"output_dir: out\n{top}\nmodels:\n  - {entry}\n"


def test_a_manifest_with_everything(tmp_path):
    manifest = load(
        tmp_path,
        """
        output_dir: out
        cores: 4
        cores_per_model: 2
        memory_gb: 1.5
        defaults: {compute_capabilities: [8.9, "12.0"], precision: FP16}
        models:
          - saved_model: models/net
            precision: [fp16, INT8]
            input_shapes: {x: 1x4:2x4:8x4}
            tags: [serve, gpu]
            signature_keys: [first]
            minimum_segment_size: 5
            memory_gb: 0.5
            timeout_minutes: 2
            calibration: {inputs: data, file: ranges.json, max_batches: 3, image_range: [-1, 1]}
            validation: {inputs: held_out, tolerances: {"*": {min_snr_db: 30, max_scaled: 1e-2}}}
          - {saved_model: /abs/other, engine: tensorrt_rtx}
        """,
    )
    assert (manifest.cores, manifest.cores_per_model) == (4, 2)
    assert manifest.memory_bytes == 1.5 * 2**30
    fp16, int8, other = manifest.jobs
    assert [job.name for job in manifest.jobs] == ["net_fp16", "net_int8", "other"]
    assert [job.params.precision_mode for job in manifest.jobs] == ["FP16", "INT8", "FP16"]
    assert fp16.saved_model == tmp_path / "models" / "net"
    assert fp16.output == tmp_path / "out" / "net_fp16"
    assert fp16.options.compute_capabilities == ("8.9", "12.0")
    assert fp16.options.cache_dir == tmp_path / "out" / ".engine_cache"
    assert fp16.options.input_shapes == {"x": ShapeRange((1, 4), (2, 4), (8, 4))}
    assert fp16.params.minimum_segment_size == 5
    assert fp16.tags == ("serve", "gpu")
    assert (fp16.memory_bytes, fp16.timeout_seconds) == (2**29, 120)
    assert int8.calibration.data == InputDirectory(tmp_path / "data", 8, (-1, 1), 3)
    assert int8.calibration.file == tmp_path / "ranges.json"
    assert fp16.calibration == int8.calibration
    assert other.calibration is None
    assert fp16.gate.input_fn == str(tmp_path / "held_out")
    assert fp16.gate.options.tolerances == {"*": {"min_snr_db": 30, "max_scaled": 0.01}}
    assert fp16.gate.options.signature_keys == ("first",)
    assert str(other.saved_model) == "/abs/other"
    assert other.options.engine == "tensorrt_rtx"


GOOD = "{saved_model: net}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output_dir: out", "models is missing"),
        ("models: [{saved_model: net}]", "output_dir is missing"),
        ("output_dir: out\nmodels: []", "models: must be a list with at least one entry"),
        ("output_dir: out\nmodels: [1]", "models[0]: must be a mapping"),
        ("- a", "must be a mapping"),
        ("", "must be a mapping"),
        ("output_dir: out\nmodels: [", "line 2: "),
        (models(GOOD, "memory_gb: lots"), "memory_gb: must be a number, not 'lots'"),
        (models(GOOD, "memory_gb: 0"), "memory_gb: must be more than 0"),
        (models(GOOD, "cores: 0"), "cores: must be at least 1"),
        (models(GOOD, "cors: 2"), "unknown key 'cors': is cores meant?"),
        (models("{name: net}"), "models[0] (net): saved_model is missing"),
        (models("{saved_model: net, precission: FP16}"), "'precission': is precision meant?"),
        (models("{saved_model: net, precision: FP17}"), "'FP17' is not supported"),
        (models("{saved_model: net, precision: []}"), "precision is an empty list"),
        (models("{saved_model: net, precision: INT8}"), "INT8 needs calibration"),
        (models("{saved_model: net, input_shapes: {x: 1xN}}"), "input_shapes: x: "),
        (models("{saved_model: net, input_shapes: 1x2}"), "input_shapes: must be a mapping"),
        (models("{saved_model: net, input_shapes: {x: 4:2}}"), "min <= opt <= max"),
        (models("{saved_model: net, tags: {a: b}}"), "tags: must be text"),
        (models("{saved_model: net, name: a, name: b}"), "the key 'name' is there twice"),
        (models("{saved_model: net, calibration: {}}"), "calibration: needs inputs, file, or both"),
        (models("{saved_model: net, engine: fast}"), "engine='fast' is not known"),
        (models("{saved_model: net, compute_capabilities: 89}"), "MAJOR.MINOR"),
        (models("{saved_model: net, name: a/b}"), "name 'a/b' can't be a directory's"),
        (models("{saved_model: net, check: maybe}"), "check: must be true or false"),
        (models("{saved_model: net, max_engines: 1.5}"), "max_engines: must be a whole number"),
        (models("{saved_model: net, validation: {tolerance: {}}}"), "is tolerances meant?"),
        (
            models("{saved_model: net, validation: {tolerances: {y: {snr: 3}}}}"),
            "unknown tolerance 'snr'",
        ),
        (
            models("{saved_model: net, validation: {image_range: [1]}}"),
            "image_range: must be two numbers",
        ),
        (models("{saved_model: net, dynamic_shape_profile_strategy: Best}"), "'Best'"),
        ("output_dir: o\nmodels: [{saved_model: a/n}, {saved_model: b/n}]", "2 models are named"),
    ],
)
def test_bad_manifests(tmp_path, text, message):
    with pytest.raises(InvalidArgumentError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "batch.yaml"))
    assert "\n" not in str(caught.value)


def test_no_manifest(tmp_path):
    with pytest.raises(InvalidArgumentError, match="can't be read: No such file"):
        load_manifest(tmp_path / "nowhere.yaml")

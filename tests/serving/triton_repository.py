"""A Triton model repository as Triton reads it, and as it would run it."""

import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig


def read_config(repository, name):
    """The model's configuration, by the schema that Triton publishes; unknown fields are errors."""
    config = text_format.Parse((repository / name / "config.pbtxt").read_text(), ModelConfig())
    assert config.name == name
    assert (repository / name / "1").is_dir()
    return config


def shown(values):
    return {one.name: (one.data_type, list(one.dims)) for one in values}


def run_onnx(repository, name, feeds):
    session = onnxruntime.InferenceSession(
        repository / name / "1" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    config = read_config(repository, name)
    for found, declared in (
        (session.get_inputs(), config.input), (session.get_outputs(), config.output),
    ):  # fmt: skip
        batch = [-1] if config.max_batch_size else []
        for one in declared:
            (value,) = [value for value in found if value.name == one.name]
            dims = [size if isinstance(size, int) else -1 for size in value.shape]
            assert dims == batch + list(one.reshape.shape if one.HasField("reshape") else one.dims)
        assert {value.name for value in found} == {one.name for one in declared}
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def run_repository(repository, name, feeds):
    """The outputs as Triton would compute them, step by step."""
    config = read_config(repository, name)
    if config.platform != "ensemble":
        return run_onnx(repository, name, feeds)
    tensors = dict(feeds)
    assert set(tensors) == {one.name for one in config.input}
    for step in config.ensemble_scheduling.step:
        taken = {own: tensors[tensor] for own, tensor in step.input_map.items()}
        found = run_onnx(repository, step.model_name, taken)
        tensors |= {tensor: found[own] for own, tensor in step.output_map.items()}
    return {one.name: tensors[one.name] for one in config.output}


def check_ensemble(repository, name):
    """What Triton asks of an ensemble: each tensor is made once, before it is taken, of one type
    and shape; every input is used; and all models have the same greatest batch."""
    ensemble = read_config(repository, name)
    made = shown(ensemble.input)
    used = set()
    for step in ensemble.ensemble_scheduling.step:
        config = read_config(repository, step.model_name)
        assert config.max_batch_size == ensemble.max_batch_size
        taken, given = shown(config.input), shown(config.output)
        assert step.input_map.keys() == taken.keys()
        assert step.output_map.keys() <= given.keys()
        for own, tensor in step.input_map.items():
            assert compatible(made[tensor], taken[own])
            used.add(tensor)
        for own, tensor in step.output_map.items():
            assert tensor not in made
            made[tensor] = given[own]
    assert {one.name for one in ensemble.input} <= used
    for tensor, wanted in shown(ensemble.output).items():
        assert compatible(made[tensor], wanted)


def compatible(left, right):
    """Whether types are the same and shapes are, but for dimensions that are open."""
    return left[0] == right[0] and len(left[1]) == len(right[1]) and all(
        -1 in pair or pair[0] == pair[1] for pair in zip(left[1], right[1], strict=True)
    )  # fmt: skip

"""Mutations of SavedModels and engine assets, each from a seed, and what must hold for every one.

As a program it runs a range of seeds in one process and prints each before it begins, so that the
last line of a process that died names the culprit: `python tests/compat/fuzz.py FIRST COUNT DIR`.
"""

import contextlib
import dataclasses
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import onnx
import tensorflow as tf
from damage import ALL
from stock_models import LOADABLE, MODELS, RESTORABLE

import tftrt_toolkit
from tftrt_toolkit.artifacts import SegmentAsset
from tftrt_toolkit.asset import AssetFile, write_asset
from tftrt_toolkit.compat import restore_native
from tftrt_toolkit.errors import AssetError, InternalError, ToolkitError
from tftrt_toolkit.saved_model import read_saved_model

NAMES = ["", "/", "../../escaped", "a:0", "^x", "x" * 5000, "\0", "é", "TRTEngineOp_000_000"]
NUMBERS = [-1, 0, 1, 2**31 - 1, -(2**31), 7]


def mutate_bytes(data, random_):
    """Flip, cut, repeat or insert a few bytes."""
    data = bytearray(data)
    for _ in range(random_.randint(1, 8)):
        place = random_.randrange(len(data) + 1)
        match random_.randrange(4):
            case 0 if place < len(data):
                data[place] ^= 1 << random_.randrange(8)
            case 1:
                del data[place : place + random_.randint(1, 64)]
            case 2:
                data[place:place] = data[place : place + random_.randint(1, 64)]
            case _:
                data[place:place] = random_.randbytes(random_.randint(1, 16))
    return bytes(data)


def mutate_proto(proto, random_):
    """Change one field somewhere: drop it, repeat it, or give it an odd value."""
    message = proto
    while True:
        present = message.ListFields()
        if not present:
            return
        field, value = random_.choice(present)
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            nested = [one for one in value.values() if hasattr(one, "ListFields")]
        elif is_repeated(value) and field.message_type is not None:
            nested = list(value)
        else:
            nested = [value] if field.message_type is not None else []
        if nested and random_.random() < 0.9:
            message = random_.choice(nested)
            continue
        change_field(message, field, value, is_map, random_)
        return


def is_repeated(value):
    # Older protobufs' descriptors call it otherwise.
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def change_field(message, field, value, is_map, random_):
    scalar = {str: NAMES, int: NUMBERS, bytes: [b"", b"\xff" * 9], bool: [True, False]}
    if is_map:
        value.pop(random_.choice(list(value)))
    elif is_repeated(value):
        place = random_.randrange(len(value))
        kind = type(value[place])
        if random_.random() < 0.4 or kind not in scalar:
            del value[place]
        else:
            value[place] = random_.choice(scalar[kind])
    elif type(value) in scalar and random_.random() < 0.8:
        number = random_.choice(scalar[type(value)])
        if field.enum_type is None or number in field.enum_type.values_by_number:
            setattr(message, field.name, number)
    else:
        message.ClearField(field.name)


def mutated_model(source, folder, random_):
    model = folder / "model"
    shutil.copytree(source, model)
    path = model / "saved_model.pb"
    if random_.random() < 0.2:
        path.write_bytes(mutate_bytes(path.read_bytes(), random_))
        return model
    saved_model = read_saved_model(model)
    if random_.random() < 0.4:
        damage(saved_model.meta_graphs[0], random_)
    else:
        for _ in range(random_.randint(1, 4)):
            mutate_proto(saved_model, random_)
    path.write_bytes(saved_model.SerializeToString())
    return model


def damage(meta_graph, random_):
    for change in random_.sample(ALL, random_.randint(1, 2)):
        # Not every model has assets or objects, and one damage may leave no room for another.
        with contextlib.suppress(IndexError, KeyError, StopIteration, ValueError):
            change(meta_graph)


def check_restore(seed, folder):
    """Restoring gives a model or an error of ours, and touches nothing but the output."""
    random_ = random.Random(seed)
    model = mutated_model(MODELS / random_.choice(RESTORABLE), folder, random_)
    try:
        restore_native(model, folder / "out")
    except InternalError:
        raise
    except ToolkitError as error:
        require_one_line(error)
        assert {path.name for path in folder.iterdir()} == {"model"}
    else:
        assert {path.name for path in folder.iterdir()} == {"model", "out"}
        read_saved_model(folder / "out")


def check_asset(seed, folder, whole):
    """Opening and reading an asset gives what was written or an error of ours."""
    path = folder / "asset"
    path.write_bytes(mutate_bytes(whole, random.Random(seed)))
    try:
        asset = AssetFile.open(path)
        for entry in asset.plans:
            asset.read_plan(entry)
        asset.load_onnx()
    except AssetError as error:
        require_one_line(error)


def check_load(seed, folder, own):
    """Loading and running gives results or an error, and writes nothing anywhere."""
    random_ = random.Random(seed)
    source = random_.choice([*(MODELS / name for name in LOADABLE), own, own])
    if random_.random() < 0.3:
        model = shutil.copytree(source, folder / "model")
    else:
        model = mutated_model(source, folder, random_)
    for asset in sorted((model / "assets").glob("*")):
        if random_.random() < 0.5:
            replace_asset(asset, own, random_)
    before = listing(folder)
    # TensorFlow's loader tells of damage in nearly every class of exception there is.
    with contextlib.suppress(Exception):
        loaded = tftrt_toolkit.load(model, executors=["onnxruntime"])
        loaded.signatures["serving_default"](x=tf.ones([3, 4]))
    assert listing(folder) == before


def replace_asset(path, own, random_):
    """Put something else in an asset's place."""
    others = sorted([*own.glob("assets/*"), *MODELS.glob("*/assets/*")])
    match random_.randrange(6):
        case 0:
            path.write_bytes(random_.choice(others).read_bytes())
        case 1:
            path.write_bytes(random_.randbytes(random_.choice([0, 11, 100])))
        case 2:
            path.unlink()
        case 3:
            path.unlink()
            path.mkdir()
        case 4:
            path.write_bytes(mutate_bytes(path.read_bytes(), random_))
        case _:
            forge_asset(path, random_.choice(sorted(own.glob("assets/*"))), random_)


def forge_asset(path, source, random_):
    """An asset whose hashes are right and whose contents aren't."""
    asset = AssetFile.open(source)
    typed = asset.load_onnx()
    proto = onnx.ModelProto()
    proto.CopyFrom(typed.model.proto)
    for _ in range(random_.randint(0, 2)):
        mutate_proto(proto.graph, random_)
    specs = [*asset.inputs, *asset.outputs]
    inputs, outputs = list(asset.inputs), list(asset.outputs)
    match random_.randrange(4):
        case 0:
            inputs = random_.choices(specs, k=random_.randint(0, 3))
        case 1:
            outputs = random_.choices(specs, k=random_.randint(0, 3))
        case 2:
            outputs = [dataclasses.replace(one, dtype=tf.float64) for one in outputs]
        case _:
            outputs = [dataclasses.replace(one, name="nobody:0") for one in outputs]
    typed = dataclasses.replace(typed, model=dataclasses.replace(typed.model, proto=proto))
    forged = SegmentAsset(asset.segment, tuple(inputs), tuple(outputs), typed, ())
    with contextlib.suppress(InternalError):  # it refers to a weight that isn't there
        write_asset(path, forged)


def listing(folder):
    return {
        path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")
    }


def require_one_line(error):
    assert "\n" not in str(error), str(error)


def main(first, count, scratch):
    """`scratch` holds a small `asset`, and `own`, a model that this toolkit converted."""
    whole = Path(scratch, "asset").read_bytes()
    checks = {
        "restore": check_restore,
        "asset": lambda seed, folder: check_asset(seed, folder, whole),
        "load": lambda seed, folder: check_load(seed, folder, Path(scratch, "own")),
    }
    for seed in range(first, first + count):
        for name, check in checks.items():
            print(f"{seed}:{name}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                check(seed, Path(folder))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

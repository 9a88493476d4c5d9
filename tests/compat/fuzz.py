"""Mutations of SavedModels and engine assets, each from a seed, and what must hold for every one.

As a program it runs a range of seeds in one process and prints each before it begins, so that the
last line of a process that died names the culprit: `python tests/compat/fuzz.py FIRST COUNT`.
"""

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from stock_models import MODELS, RESTORABLE

from tftrt_toolkit.asset import AssetFile
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
        setattr(message, field.name, random_.choice(scalar[type(value)]))
    else:
        message.ClearField(field.name)


def mutated_model(folder, random_):
    model = folder / "model"
    shutil.copytree(MODELS / random_.choice(RESTORABLE), model)
    path = model / "saved_model.pb"
    if random_.random() < 0.3:
        path.write_bytes(mutate_bytes(path.read_bytes(), random_))
        return model
    saved_model = read_saved_model(model)
    for _ in range(random_.randint(1, 4)):
        mutate_proto(saved_model, random_)
    path.write_bytes(saved_model.SerializeToString())
    return model


def check_model(seed, folder):
    """Restoring gives a model or an error of ours, and touches nothing but the output."""
    random_ = random.Random(seed)
    model = mutated_model(folder, random_)
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


def require_one_line(error):
    assert "\n" not in str(error), str(error)


def main(first, count, asset):
    whole = Path(asset).read_bytes()
    for seed in range(first, first + count):
        print(seed, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            check_model(seed, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            check_asset(seed, Path(folder), whole)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

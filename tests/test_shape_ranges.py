import pytest

from tftrt_toolkit.artifacts import ShapeRange
from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.shape_ranges import parse_shapes


def test_one_two_or_three_shapes():
    assert parse_shapes(["a:1x2", "b:1x2:8x2", "c:1:4:8", "d:()"]) == {
        "a": ShapeRange((1, 2), (1, 2), (1, 2)),
        "b": ShapeRange((1, 2), (8, 2), (8, 2)),
        "c": ShapeRange((1,), (4,), (8,)),
        "d": ShapeRange((), (), ()),
    }


@pytest.mark.parametrize("entry", ["a", ":1x2", "a:1:2:3:4", "a:1xb", "a:"])
def test_bad_entries_show_the_form(entry):
    with pytest.raises(InvalidArgumentError, match=r"input_shapes") as caught:
        parse_shapes([entry])
    assert "\n" not in str(caught.value)

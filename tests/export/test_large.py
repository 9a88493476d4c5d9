import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.segments import freeze, whole_segment
from tftrt_toolkit.artifacts import Weight
from tftrt_toolkit.errors import ConversionError
from tftrt_toolkit.export import export_segment
from tftrt_toolkit.onnx_model import run_session, to_proto, to_session

ROWS, WIDTH = 700_000, 1024  # 2.7 GB, of zeros that no one writes: the system gives no memory


def test_weights_beyond_two_gigabytes_are_exported_and_run():
    def function(table, rows):
        return tf.gather(table, rows, name="rows")

    specs = [tf.TensorSpec([ROWS, WIDTH], tf.float32, "table"), tf.TensorSpec([None], tf.int32)]
    graph, _ = freeze(function, specs)
    table = np.zeros((ROWS, WIDTH), np.float32)
    table[-1] = 5
    graph = dataclasses.replace(
        graph,
        arguments=tuple(name for name in graph.arguments if name != "table"),
        weights={"table": Weight(value=table, reader=None)},
    )
    model = export_segment(graph, whole_segment(graph))
    (array,) = model.weights.values()
    assert np.shares_memory(array, table)
    assert model.proto.ByteSize() < 2000
    session = to_session(model, weights_as_inputs=True)
    (result,) = run_session(session, model, [np.int32([ROWS - 1, 0])])
    assert result[:, 0].tolist() == [5, 0]
    with pytest.raises(ConversionError, match=r"2\.7 GiB"):
        to_proto(model)

"""Properties of conversion over random functions, with nodes kept native at random."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.random_functions import OPERATIONS, WIDTH, Program
from tftrt_toolkit import runtime
from tftrt_toolkit.artifacts import EngineAttributes
from tftrt_toolkit.assemble import assemble_function
from tftrt_toolkit.freeze import freeze_function
from tftrt_toolkit.graph import data_inputs, node_of
from tftrt_toolkit.segment import SegmentRules, segment_graph
from tftrt_toolkit.support import SupportRules, support_map

RELAXED = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", autouse=True)
def ops():
    runtime.load_ops()


@st.composite
def programs(draw):
    count = draw(st.integers(1, 10))
    steps = tuple(
        (
            draw(st.sampled_from(sorted(OPERATIONS))),
            draw(st.integers(0, index)),
            draw(st.integers(0, index)),
        )
        for index in range(count)
    )
    results = draw(st.sets(st.integers(1, count), min_size=1, max_size=3)) | {count}
    return Program(steps, tuple(sorted(results)))


def graphs_of(graph):
    yield graph
    for body in graph.bodies.values():
        yield from graphs_of(body)


def segment(data, frozen):
    """Segments of a function's graph and of its bodies, with some nodes kept native."""
    graphs = list(graphs_of(frozen.graph))
    names = sorted({node.name for graph in graphs for node in graph.graph_def.node})
    native = data.draw(st.sets(st.sampled_from(names), max_size=3), label="native")
    rules = SegmentRules(
        minimum_segment_size=data.draw(st.integers(1, 3), label="minimum_segment_size"),
        max_engines=data.draw(st.sampled_from([0, 1, 20]), label="max_engines"),
    )
    support = SupportRules(dynamic_shape=data.draw(st.booleans()), native_nodes=tuple(native))
    return {
        graph.name: segment_graph(graph, support_map(graph, support), rules, index)
        for index, graph in enumerate(graphs)
    }


@RELAXED
@given(programs(), st.data())
def test_conversion_never_changes_the_result(program, data):
    function = program.trace()
    frozen = freeze_function(function, "main")
    found = segment(data, frozen)
    segments = {name: item.segments for name, item in found.items()}
    converted = assemble_function(frozen, segments, EngineAttributes()).function
    rows = data.draw(st.integers(1, 3), label="rows")
    x = tf.constant(np.linspace(-2, 2, rows * WIDTH, dtype=np.float32).reshape(rows, WIDTH))
    expected, actual = function(x), converted(x=x)
    assert expected.keys() == actual.keys()
    for key in expected:
        np.testing.assert_allclose(actual[key], expected[key], rtol=1e-5, atol=1e-6, err_msg=key)


@RELAXED
@given(programs(), st.data())
def test_what_crosses_is_declared_and_no_segment_takes_a_shape(program, data):
    frozen = freeze_function(program.trace(), "main")
    found = segment(data, frozen)
    for graph in graphs_of(frozen.graph):
        nodes = {node.name: node for node in graph.graph_def.node}
        for item in found[graph.name].segments:
            inner = set(item.nodes)
            assert not inner & found[graph.name].refusals.keys()
            taken = {
                tensor
                for name in inner
                for tensor in data_inputs(nodes[name])
                if node_of(tensor) not in inner
            }
            assert taken == {spec.name for spec in item.inputs}
            assert not {node_of(tensor) for tensor in taken} & _copied(found[graph.name])
            computed = set(item.nodes) - set(item.copies)
            for other in found[graph.name].segments:
                assert other is item or not computed & set(other.nodes)


def _copied(segmentation):
    return {name for item in segmentation.segments for name in item.copies}

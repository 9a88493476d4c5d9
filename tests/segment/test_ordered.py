"""Contracting edges one by one, and the order that goes with it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.segment.dags import dags, reaches
from tftrt_toolkit.segment import order as order_module
from tftrt_toolkit.segment.dag import Dag
from tftrt_toolkit.segment.order import Order
from tftrt_toolkit.segment.ordered import OrderedGraph


def listed(order, items):
    return sorted(items, key=order.position.__getitem__)


def test_items_move():
    order = Order(5)
    order.move_behind([0, 1], 3)
    assert listed(order, range(5)) == [2, 3, 0, 1, 4]
    order.move_ahead([4], 2)
    assert listed(order, range(5)) == [4, 2, 3, 0, 1]
    order.move_behind([2], 1)
    assert listed(order, range(5)) == [4, 3, 0, 1, 2]
    order.merge(gone=4, place=0, name=4)
    assert listed(order, [1, 2, 3, 4]) == [3, 4, 1, 2]
    order.merge(gone=3, place=1, name=1)
    assert listed(order, [1, 2, 4]) == [4, 1, 2]


def test_positions_are_dealt_anew_when_there_is_no_room(monkeypatch):
    monkeypatch.setattr(order_module, "_GAP", 4)
    order = Order(4)
    for _ in range(5):
        order.move_behind([3], 0)
        order.move_behind([2], 0)
    assert listed(order, range(4)) == [0, 2, 3, 1]
    assert order.renumbered > 0


@settings(deadline=None, max_examples=300)
@given(dags(), st.data())
def test_an_edge_contracts_unless_another_path_runs_beside_it(case, data):
    dag, _ = case
    graph = OrderedGraph(dag)
    alive = set(range(len(dag)))
    for _ in range(len(dag)):
        edges = [(low, high) for low in sorted(alive) for high in sorted(graph.successors[low])]
        if not edges:
            break
        low, high = data.draw(st.sampled_from(edges))
        now = Dag([list(p) for p in graph.predecessors], [list(s) for s in graph.successors])
        kept = graph.contract(low, high)
        assert (kept is None) == reaches(now, low, high)
        if kept is not None:
            alive -= {low, high} - {kept}
        position = graph.order.position
        for vertex in alive:
            assert graph.successors[vertex] <= alive
            assert all(position[vertex] < position[other] for other in graph.successors[vertex])
            assert all(vertex in graph.predecessors[other] for other in graph.successors[vertex])

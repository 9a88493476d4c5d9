"""Clusters: as large as they can be, and never a cycle."""

import pytest
from hypothesis import given, settings

from tests.segment.dags import dags, groups_of, reaches
from tftrt_toolkit.segment.cluster import cluster
from tftrt_toolkit.segment.dag import Dag, contract


def clusters(predecessors, native=()):
    dag = Dag.from_predecessors(predecessors)
    return cluster(dag, [vertex not in native for vertex in range(len(dag))])


@pytest.mark.parametrize(
    ("predecessors", "native", "labels"),
    [
        ([[], [0], [1]], [], [0, 0, 0]),
        ([[], [0], [1]], [0, 1, 2], [-1, -1, -1]),
        ([[], [], [0], [1]], [], [0, 1, 0, 1]),  # what isn't connected stays apart
        ([[], [0], [1], [2]], [1], [0, -1, 1, 1]),
        ([[], [0], [0, 1]], [1], [0, -1, 1]),  # 0 and 2 would enclose 1
        ([[], [], [0], [1], [2, 3]], [3], [0, 1, 0, -1, 0]),  # a side branch that ends in a native
    ],
)
def test_clusters(predecessors, native, labels):
    assert clusters(predecessors, native) == labels


def test_a_graph_without_vertices():
    assert clusters([]) == []


@settings(deadline=None, max_examples=300)
@given(dags())
def test_contracting_the_clusters_leaves_no_cycle(case):
    dag, convertible = case
    labels = cluster(dag, convertible)
    contract(dag, groups_of(labels))  # raises on a cycle
    assert [label < 0 for label in labels] == [not yes for yes in convertible]


@settings(deadline=None, max_examples=300)
@given(dags())
def test_two_clusters_that_could_join_have_joined(case):
    dag, convertible = case
    labels = cluster(dag, convertible)
    small, member = contract(dag, groups_of(labels))
    for vertex, predecessors in enumerate(dag.predecessors):
        for source in predecessors:
            low, high = member[source], member[vertex]
            if convertible[source] and convertible[vertex] and low != high:
                assert reaches(small, low, high)


@settings(deadline=None, max_examples=100)
@given(dags())
def test_clusters_are_valid_however_little_effort_was_allowed(case):
    dag, convertible = case
    contract(dag, groups_of(cluster(dag, convertible, effort=0)))

"""Random graphs of whole numbers, for properties."""

from hypothesis import strategies as st

from tftrt_toolkit.segment.dag import Dag


@st.composite
def dags(draw, most=25):
    """A Dag and, for each vertex, whether it is convertible."""
    count = draw(st.integers(1, most))
    predecessors = [
        draw(st.sets(st.integers(0, vertex - 1), max_size=3)) if vertex else set()
        for vertex in range(count)
    ]
    convertible = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    return Dag.from_predecessors(predecessors), convertible


def groups_of(labels):
    """Clusters as groups for `contract`: a native vertex is a group of its own."""
    return [label if label >= 0 else -2 - vertex for vertex, label in enumerate(labels)]


def reaches(dag, start, goal):
    """Whether a path of two edges or more leads from `start` to `goal`."""
    waiting = [vertex for vertex in dag.successors[start] if vertex != goal]
    seen = set(waiting)
    while waiting:
        for vertex in dag.successors[waiting.pop()]:
            if vertex == goal:
                return True
            if vertex not in seen:
                seen.add(vertex)
                waiting.append(vertex)
    return False

"""The same manifest on a Ray cluster: two nodes, on this machine."""

import os
import threading
import time
from pathlib import Path

import pytest

from tests.validation import small_models
from tftrt_toolkit.batch import load_manifest, run_batch
from tftrt_toolkit.errors import RuntimeLoadError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(ROOT))  # for the processes on the nodes
    patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    node = {"num_cpus": 1, "memory": 4 * 10**9, "object_store_memory": 10**8}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.spare = cluster.add_node(**node)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()
    patch.undo()


def manifest_of(directory, names):
    small_models.save(directory / "model")
    entries = "\n".join(f"  - {{name: {name}, saved_model: model}}" for name in names)
    (directory / "batch.yaml").write_text(
        f"output_dir: out\nmodels:\n{entries}\n  - {{name: broken, saved_model: nowhere}}\n"
    )
    return load_manifest(directory / "batch.yaml")


def nodes_of(directory, names):
    logs = [(directory / "out" / ".batch" / f"{name}.log").read_text() for name in names]
    return {line for log in logs for line in log.splitlines() if line.startswith("Ray node")}


def test_two_nodes_share_the_work_and_one_may_die(cluster, tmp_path):
    names = [f"net_{index}" for index in range(4)]
    manifest = manifest_of(tmp_path, names)
    report = run_batch(manifest, ray_address=cluster.address)
    assert {record.name for record in report.failures} == {"broken"}
    assert len(nodes_of(tmp_path, names)) == 2
    assert all(record.facts["engines"] == 1 for record in report.records if record.converted)
    assert run_batch(manifest, ray_address=cluster.address).reused == 5

    os.utime(tmp_path / "model" / "saved_model.pb")  # every model is to be done again
    began = time.time_ns()

    def kill_a_node_at_work():
        folder = tmp_path / "out" / ".batch"
        while sum(path.stat().st_mtime_ns > began for path in folder.glob("net_*.log")) < 2:
            time.sleep(0.02)
        cluster.remove_node(cluster.spare, allow_graceful=False)

    killer = threading.Thread(target=kill_a_node_at_work)
    killer.start()
    report = run_batch(manifest, ray_address=cluster.address)
    killer.join()
    assert report.reused == 1
    assert {record.name for record in report.failures} == {"broken"}


def test_no_cluster_is_one_line(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(RuntimeLoadError, match=r"no Ray cluster answers .*refused") as caught:
        run_batch(manifest_of(tmp_path, ["net"]), ray_address="127.0.0.1:1")
    assert "\n" not in str(caught.value)

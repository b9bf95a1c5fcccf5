# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sweeps and evaluations on a Ray cluster of two worker processes: the figures of a local run, also when a worker is killed."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from PIL import Image
from tosa_rescale.core.errors import ClusterError, DataError, MissingToolError, OptionError
from tosa_rescale.core.options import NarrowOptions
from tosa_rescale.data.source import as_dataset
from tosa_rescale.measure.choice import plan_metrics
from tosa_rescale.sweeping import cluster as distributed
from tosa_rescale.sweeping import cluster_join, cluster_tasks
from tosa_rescale.sweeping.cluster import connect
from tosa_rescale.sweeping.methods import MethodContext
from tosa_rescale.sweeping.results import SweepResult
from tosa_rescale_runtime import CompileError

# Ray sets accelerator variables for its workers and says that it will change this.
pytestmark = pytest.mark.filterwarnings("ignore:Tip.*accelerator:FutureWarning")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A local cluster of two worker processes, which "local" then means."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tosa-rescale[distributed]'")
    with connect("local", workers=2):
        yield "local"


def figures(result: SweepResult) -> list[dict[str, Any]]:
    """Everything but times."""
    return [{key: value for key, value in point.as_dict().items() if "seconds" not in key} for point in result.points]


def without_seconds(found: tr.Evaluation) -> dict[str, Any]:
    return {key: value for key, value in found.as_dict().items() if key != "seconds"}


def test_a_sweep_gives_the_local_figures(cluster: str, demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    asked: dict[str, Any] = {"bits": (32, 3, 1), "methods": ("narrow", "compensate", "align")}
    data = digits.take(150)
    here = tr.sweep(demo, data, tmp_path / "here", **asked)
    there = tr.sweep(demo, data, tmp_path / "there", cluster=cluster, **asked)
    assert figures(there) == figures(here)
    assert len({str(each["histogram"]) for each in figures(here)}) == 7  # or equality would say little


class Tasks:
    """A progress that does something after the first shard."""

    def __init__(self, action: Any) -> None:
        self._calls = iter([action])

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Any]:
        del label, total
        yield lambda _count: next(self._calls, lambda: None)()


def process_tree() -> dict[int, tuple[int, str]]:
    """Every process: its parent, and its title."""
    found = {}
    for folder in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(folder.name)] = (parent, (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def kill_a_busy_worker(killed: list[int]) -> None:
    """Kills a worker of our cluster in the middle of a task."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        processes = process_tree()
        for identity, (parent, title) in processes.items():
            ours = processes.get(parent, (0, ""))[0] == os.getpid()  # raylet between us and its workers
            if not (ours and title.startswith("ray::score_shard")):
                continue
            os.kill(identity, signal.SIGSTOP)
            if process_tree().get(identity, (0, ""))[1].startswith("ray::score_shard"):  # now it cannot end any more
                os.kill(identity, signal.SIGKILL)
                killed.append(identity)
                return
            os.kill(identity, signal.SIGCONT)
    pytest.fail("no worker was seen at work")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds workers in /proc")
def test_a_killed_workers_tasks_run_again(cluster: str, demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    asked: dict[str, Any] = {"bits": (8, 4, 2, 1)}
    here = tr.sweep(demo, digits, tmp_path / "here", **asked)
    killed: list[int] = []
    progress = Tasks(lambda: kill_a_busy_worker(killed))
    there = tr.sweep(demo, digits, tmp_path / "there", cluster=cluster, progress=progress, **asked)
    assert len(killed) == 1 and killed[0] not in process_tree()
    assert figures(there) == figures(here)


def test_an_interrupted_sweep_goes_on(
    cluster: str, demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = digits.take(60)
    points = distributed.Cluster.points

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield next(found := points(*arguments, **options))
        yield next(found)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(distributed.Cluster, "points", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tr.sweep(demo, data, tmp_path / "a", bits=(4, 2, 1), cluster=cluster)
    measured: list[Any] = []

    def counted(*arguments: Any, **options: Any) -> Iterator[Any]:
        for each in points(*arguments, **options):
            measured.append(each.point)
            yield each

    monkeypatch.setattr(distributed.Cluster, "points", counted)
    resumed = tr.sweep(demo, data, tmp_path / "a", bits=(4, 2, 1), cluster=cluster)
    assert len(measured) == 3 and measured[0] == ("base", 32)  # the reference again, and the two that were left
    # Where a sweep ran makes no difference to it.
    assert figures(tr.sweep(demo, data, tmp_path / "a", bits=(4, 2, 1))) == figures(resumed)
    assert figures(tr.sweep(demo, data, tmp_path / "b", bits=(4, 2, 1))) == figures(resumed)


def test_images_are_evaluated_as_objects(cluster: str, demo: tr.Model, tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(20):
        pixels = rng.integers(0, 256, (11, 9, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{i % 10}\n" for i in range(20)))
    data, narrowed = tr.load_data(tmp_path), demo.narrow(1)
    here = narrowed.evaluate(data, reference=demo)
    assert without_seconds(narrowed.evaluate(data, reference=demo, cluster=cluster)) == without_seconds(here)
    litert = narrowed.evaluate(data, engine="litert", cluster=cluster)
    assert without_seconds(litert) == without_seconds(narrowed.evaluate(data, engine="litert"))
    detached = data.detached()
    assert detached.fingerprint() == data.fingerprint()
    expected = np.concatenate(list(data.quantized(demo.input_spec)))
    for image in tmp_path.glob("*.png"):
        image.unlink()
    assert np.array_equal(np.concatenate(list(detached.quantized(demo.input_spec))), expected)


def own_metric(outputs: Any, labels: Any, reference: Any) -> Any:
    """One number a sample; its module is none that a worker could import."""
    return np.abs(outputs[0] - reference[0]).mean(1)


def whole_metric(outputs: Any, labels: Any, reference: Any) -> float:
    """One number for all samples."""
    return float(np.median(outputs[0]))


def darkened(image: Any) -> np.ndarray:
    return np.asarray(image.convert("L").resize((8, 8)))[..., None] // 2


def test_metrics_are_those_of_a_local_run(cluster: str, demo: tr.Model, digits: tr.Dataset) -> None:
    x, scores = np.asarray(digits.samples)[:150], np.random.default_rng(0).random(75)
    data = as_dataset({"x": x, "score": scores})
    asked = ["spearman", "cosine", "agreement", "mse", own_metric, whole_metric]
    narrowed = demo.narrow(1)
    here = narrowed.evaluate(data, reference=demo, metrics=asked)
    there = narrowed.evaluate(data, reference=demo, metrics=asked, cluster=cluster)
    assert without_seconds(there) == without_seconds(here)
    assert [figure.samples for figure in here.metrics.values()] == [75, 150, 150, 150, 150, 150]
    assert len({figure.value for figure in here.metrics.values()}) == 6


def test_a_function_that_reads_images_travels(cluster: str, demo: tr.Model, tmp_path: pathlib.Path) -> None:
    for index in range(6):
        Image.fromarray(np.full((9, 9), 40 * index, np.uint8)).save(tmp_path / f"{index}.png")
    data = tr.load_data(tmp_path, tr.Preprocessing(preprocess=darkened))
    here = demo.evaluate(data, reference=demo.narrow(1))
    assert without_seconds(demo.evaluate(data, reference=demo.narrow(1), cluster=cluster)) == without_seconds(here)


def test_a_tasks_error_is_the_local_one(cluster: str, demo: tr.Model, demo_data: pathlib.Path) -> None:
    data = tr.load_data(demo_data, tr.Preprocessing(label_offset=1)).take(50)
    with pytest.raises(DataError, match=r"label 10 is outside the model's 10 classes; .*`label_offset`"):
        demo.evaluate(data, cluster=cluster)


def test_a_worker_whose_iree_cannot_compile_the_graph_runs_the_twin(
    demo: tr.Model, digits: tr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def refuse(*_: Any) -> bytes:
        runs.append(1)
        raise CompileError("iree-compile: no lowering", unsupported=True)

    monkeypatch.setattr(cluster_tasks, "compile_module", refuse)
    expected = tuple(cluster_tasks.environment().items())
    context, data = MethodContext(demo, workers=1), digits.take(20)
    base = cluster_tasks.prepare_point(expected, context, cluster_tasks.BASE, None, "iree", None)
    narrow = cluster_tasks.prepare_point(expected, context, ("narrow", 4), NarrowOptions(31), "iree", base)
    assert base.engine == narrow.engine == "tf" and len(runs) == 1  # the other width has the same skeleton
    assert "IREE cannot compile it; the twin runs it, with the same integers (iree-compile: no lowering)" in narrow.says
    plan = plan_metrics(None, demo, data, True)
    (_, _), outputs = cluster_tasks.score_shard(expected, base, data, 0, plan, None, True)
    (score, _), _ = cluster_tasks.score_shard(expected, narrow, data, 0, plan, outputs, False)
    assert score.result(data).metrics == demo.narrow(4).evaluate(data, reference=demo).metrics


def test_workers_of_another_version_are_refused(
    cluster: str, demo: tr.Model, digits: tr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**distributed.environment(), "iree-base-runtime": "1.2.3"}
    monkeypatch.setattr(distributed, "environment", lambda: other)
    with pytest.raises(
        ClusterError, match=r"worker on .*: has iree-base-runtime .* \(not 1\.2\.3\); install the same versions"
    ):
        demo.evaluate(digits.take(4), cluster=cluster)


def test_addresses_that_lead_nowhere(demo: tr.Model, digits: tr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tosa-rescale[distributed]'")
    data = digits.take(4)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            ClusterError, match=rf"{address}: no cluster can be reached: Connection refused; .*`cluster='local'`"
        ):
            demo.evaluate(data, cluster=address)
        unused.listen()
        monkeypatch.setattr(cluster_join, "ANSWER_SECONDS", 5.0)
        with pytest.raises(ClusterError, match=rf"{address}: something answers, but no Ray cluster"):
            demo.evaluate(data, cluster=address)
    with pytest.raises(ClusterError, match="nowhere: is no address of a cluster; give HOST:PORT"):
        demo.evaluate(data, cluster="nowhere")
    with pytest.raises(OptionError, match="`workers` is for `cluster='local'`"):
        demo.evaluate(data, cluster=address, workers=2)


def test_a_silent_machine_is_asked_sooner_than_ray_would_and_as_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asks, waits = "RAY_grpc_client_keepalive_time_ms", "RAY_grpc_client_keepalive_timeout_ms"
    monkeypatch.setenv(asks, "10000")
    monkeypatch.setenv(waits, "")
    monkeypatch.delenv(waits)
    cluster_join.import_ray()
    assert os.environ[asks] == "10000" and os.environ[waits] == "20000"
    # Servers with Ray's defaults hang up on who asks more often than this.
    assert int(cluster_join.PROMPT[asks]) > 60_000


def test_without_ray_the_extra_is_named(demo: tr.Model, digits: tr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingToolError, match=r"ray is not installed; pip install 'tosa-rescale\[distributed\]'"):
        demo.evaluate(digits.take(4), cluster="local")


@pytest.mark.slow
def test_the_command_line_starts_a_cluster_of_its_own(
    cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tosa-rescale[distributed]'")
    asked = ("evaluate", demo_model, "--data", demo_data, "--take", 40, "--quiet", "--json")
    done = cli(*asked, "there.json", "--cluster", "local", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # nothing of Ray's
    assert cli(*asked, "here.json").returncode == 0
    here, there = (json.loads((tmp_path / name).read_text()) for name in ("here.json", "there.json"))
    assert there.keys() == here.keys() and all(there[key] == here[key] for key in here if key != "seconds")

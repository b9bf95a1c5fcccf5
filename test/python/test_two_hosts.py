# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sweeps, evaluations and fine-tuning on two hosts, of which one sees neither the model's nor the data's folder."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import two_hosts
from two_hosts import Host

pytestmark = pytest.mark.slow
WORKER = pathlib.Path(__file__).with_name("host_worker.py")
PORT = 6379
RAY = (sys.executable, "-c", "from ray.scripts.scripts import main; main()")
PRODUCT = (sys.executable, "-m", "tosa_rescale")
PROMPT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
}
"""Ray gives a host up after 20 s without an answer, which is longer than the short cut below; see docs/distributed.md."""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if why := two_hosts.allowed():
        pytest.skip(why)


@pytest.fixture
def folder(tmp_path: pathlib.Path, demo_model: pathlib.Path, demo_data: pathlib.Path) -> pathlib.Path:
    """Model and data, where only the first host sees them."""
    made = tmp_path / "first host only"
    made.mkdir()
    shutil.copy(demo_model, made / "model.tflite")
    shutil.copy(demo_data, made / "data.npz")
    return made


def ray_hosts(folder: pathlib.Path, *, other: dict[str, str] | None = None) -> Any:
    token = secrets.token_hex(32)
    caches = [
        {"TOSA_RESCALE_CACHE": f"/dev/shm/cache{index}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, **PROMPT}
        for index in range(2)
    ]
    caches[1].update(other or {})
    return two_hosts.hosts(2, [folder], caches)


def start_ray(pair: list[Host]) -> None:
    """A cluster of one core on each host."""
    first, second = pair
    common = ("--num-cpus", 1, "--disable-usage-stats", "--object-store-memory", 200_000_000)
    head = ("--head", "--port", PORT, "--include-dashboard", "false")
    first.run(*RAY, "start", *head, "--node-ip-address", first.address, *common)
    second.run(*RAY, "start", "--address", f"{first.address}:{PORT}", "--node-ip-address", second.address, *common)


def sweep(folder: pathlib.Path, out: str, *more: object) -> list[object]:
    asked = ("--data", folder / "data.npz", "--bits", "8,5,3,1", "--methods", "narrow,compensate,align", "--quiet")
    return [*PRODUCT, "sweep", folder / "model.tflite", "-o", folder / out, *asked, *more]


def figures(folder: pathlib.Path, out: str) -> list[dict[str, Any]]:
    """Everything but times, in one order: points are written down as they end."""
    found = json.loads((folder / out / "sweep.json").read_text())["points"]
    found.sort(key=lambda point: (point["method"], point["bits"]))
    return [{key: value for key, value in point.items() if "seconds" not in key} for point in found]


def test_a_sweep_and_an_evaluation_equal_the_local_ones(folder: pathlib.Path) -> None:
    evaluate = [*PRODUCT, "evaluate", folder / "model.tflite", "--data", folder / "data.npz", "--quiet", "--json"]
    with ray_hosts(folder) as pair:
        first, second = pair
        start_ray(pair)
        address = ("--cluster", f"{first.address}:{PORT}")
        first.run(*sweep(folder, "there", *address), timeout=600)
        first.run(*evaluate, folder / "there.json", *address)
        # The second host has compiled or loaded something of its own: work was done there.
        assert second.run("find", "/tmp/ray", "-name", "worker-*.out").count("worker-") >= 1
        assert not second.run("ls", folder).strip()
        first.run(*sweep(folder, "here"), timeout=600)
        first.run(*evaluate, folder / "here.json")
    assert figures(folder, "there") == figures(folder, "here") and len(figures(folder, "here")) == 13
    here, there = (json.loads((folder / f"{name}.json").read_text()) for name in ("here", "there"))
    assert {**here, "seconds": 0} == {**there, "seconds": 0}


def busy(host: Host) -> bool:
    """Whether a worker measures; read from outside, as a look within takes longer than a task."""
    for title in pathlib.Path(f"/proc/{host.first}/root/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if title.read_bytes().startswith(b"ray::score_shard"):
                return True
    return False


def wait_until_busy(host: Host, running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and running.poll() is None:
        if busy(host):
            return
        time.sleep(0.01)
    pytest.fail("no work was seen on the second host")


@pytest.mark.parametrize("back", [True, False])
def test_a_host_that_is_cut_off_does_not_stop_a_sweep(folder: pathlib.Path, back: bool) -> None:
    with ray_hosts(folder) as pair:
        first, second = pair
        start_ray(pair)
        running = first.start(sweep(folder, "there", "--cluster", f"{first.address}:{PORT}"))
        try:
            wait_until_busy(second, running)
            second.link("down")
            if back:
                time.sleep(5)
                second.link("up")
            said, _ = running.communicate(timeout=600)
        finally:
            running.kill()
        assert running.returncode == 0, said
        first.run(*sweep(folder, "here"), timeout=600)
    assert figures(folder, "there") == figures(folder, "here") and len(figures(folder, "here")) == 13


def test_a_host_with_another_version_is_refused_by_name(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other" / "pillow-1.2.3.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow\nVersion: 1.2.3\n")
    paths = os.pathsep.join(filter(None, (str(other.parent), os.environ.get("PYTHONPATH"))))
    with ray_hosts(folder, other={"PYTHONPATH": paths}) as pair:
        first, _ = pair
        start_ray(pair)
        running = first.start(sweep(folder, "there", "--cluster", f"{first.address}:{PORT}"))
        said, _ = running.communicate(timeout=600)
    assert running.returncode == 2, said
    assert "worker on host1: has pillow 1.2.3 (not " in said and "install the same versions on every machine" in said


@pytest.fixture
def trained(folder: pathlib.Path) -> Iterator[None]:
    pytest.importorskip("tensorflow")
    yield


def finetune(pair: list[Host], folder: pathlib.Path, name: str, *more: object) -> list[subprocess.Popen[str]]:
    """The same training on both hosts; each writes to a file of its own what it ended with."""
    started = []
    for index, host in enumerate(pair):
        workers = [f"{each.address}:12345" for each in pair]
        host.environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        files = (folder / "model.tflite", folder / "data.npz", folder / f"{name}.ckpt", folder / f"{name}{index}.json")
        started.append(host.start([sys.executable, WORKER, *files, *more]))
    return started


def ended_with(folder: pathlib.Path, name: str, running: list[subprocess.Popen[str]]) -> dict[str, Any]:
    """What both workers ended with, which is the same."""
    said = [each.communicate(timeout=900)[0] for each in running]
    assert [each.returncode for each in running] == [0, 0], said
    first, second = (json.loads((folder / f"{name}{index}.json").read_text()) for index in range(2))
    assert first == second
    return first


def test_a_worker_of_a_fine_tuning_is_killed_and_both_resume(folder: pathlib.Path, trained: None) -> None:
    checkpoint = folder / "broken.ckpt"
    with two_hosts.hosts(2, []) as pair:  # a resumed training reads the checkpoint on every host
        whole = ended_with(folder, "whole", finetune(pair, folder, "whole"))
    with two_hosts.hosts(2, []) as pair:
        running = finetune(pair, folder, "broken")
        deadline = time.monotonic() + 600
        while not checkpoint.exists() and time.monotonic() < deadline and running[0].poll() is None:
            time.sleep(0.01)
        pair[1].end()
        running[1].communicate(timeout=60)
        said = running[0].communicate(timeout=600)[0]
        assert running[0].returncode != 0 and checkpoint.exists(), said
        assert "Traceback" not in said
    with two_hosts.hosts(2, []) as pair:
        resumed = ended_with(folder, "broken", finetune(pair, folder, "broken", "resume"))
    assert len(whole["history"]) == 4 and whole["history"][-1]["validation_loss"] < whole["history"][0]["validation_loss"]
    assert resumed == whole

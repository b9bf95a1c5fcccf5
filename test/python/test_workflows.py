# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Workflows, action and container file: parsed, every command they run exists, and the action's script is run on models."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys
from typing import Any

import click
import pytest
import tosa_rescale as tr
import yaml
from conftest import ROOT
from tosa_rescale.cli import group

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION = ROOT / "action.yml"
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(path: pathlib.Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text())


def require_known(line: str) -> None:
    """A make target, or a command of ours with its flags; others are not looked at."""
    words = shlex.split(line)
    if words[:1] == ["make"]:
        assert set(words[1:]) <= TARGETS, line
    if "tosa-rescale" in words:
        words = words[words.index("tosa-rescale") + 1 :]
        command = group.get_command(click.Context(group), words[0])
        assert command is not None, line
        flags = {flag for each in command.params for flag in each.opts}
        assert {word for word in words if word.startswith("--")} <= flags, line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow(path: pathlib.Path) -> None:
    workflow = read(path)
    assert True in workflow or "on" in workflow, "YAML reads a bare `on` as true"
    jobs = workflow["jobs"]
    for name, job in jobs.items():
        assert job["runs-on"].startswith("ubuntu-"), name
        assert set([job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])) <= set(jobs), name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", step.get("uses", "a/b@v1")), step
            for line in step.get("run", "").splitlines():
                require_known(line)


def test_an_unknown_target_or_flag_is_seen() -> None:
    for line in ("make nothing", "tosa-rescale nothing", "tosa-rescale info x --nothing"):
        with pytest.raises(AssertionError):
            require_known(line)


def test_the_workflow_builds_what_it_attaches() -> None:
    jobs = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert [step["run"] for step in jobs["dist"]["steps"] if "run" in step] == ["make dist"]
    assert "dist" in jobs["release"]["needs"]
    uploaded, downloaded = (
        next(step["with"] for step in jobs[job]["steps"] if word in step.get("uses", ""))
        for job, word in (("dist", "upload-artifact"), ("release", "download-artifact"))
    )
    assert uploaded["name"] == downloaded["name"] and uploaded["path"] == "dist"


# -- the action --------------------------------------------------------------------------------------------------------


def audit(folder: pathlib.Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Runs the action's last step as GitHub does, in a folder."""
    action = read(ACTION)
    step = action["runs"]["steps"][-1]
    given = {name: str(each.get("default", "")) for name, each in action["inputs"].items()} | inputs
    values = {}
    for name, value in step["env"].items():
        found = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value)
        assert found and found[1] in action["inputs"], value
        values[name] = given[found[1]]
    tools = folder / ".tools"
    tools.mkdir(exist_ok=True)
    (tools / "tosa-rescale").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tosa_rescale "$@"\n')
    (tools / "tosa-rescale").chmod(0o755)
    environment = {**os.environ, **values, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    argv = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]  # what `shell: bash` stands for
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_action_fails_on_wide_models(demo: tr.Model, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    demo.compensate(4, calibration="none", scope="all").save(tmp_path / "narrow.tflite")
    done = audit(tmp_path, **{"fail-above": "4"})
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "deep" / "er" / "with space.tflite").write_bytes(demo_model.read_bytes())
    done = audit(tmp_path, **{"fail-above": "4"})
    assert done.returncode == 1
    assert "::error file=deep/er/with space.tflite::" in done.stdout and "narrow.tflite::" not in done.stdout
    assert audit(tmp_path, **{"fail-above": "31"}).returncode == 0
    (tmp_path / "broken.tflite").write_bytes(b"no model")
    assert audit(tmp_path, **{"fail-above": "31"}).returncode == 2


def test_action_without_a_model_is_an_error(tmp_path: pathlib.Path) -> None:
    done = audit(tmp_path, **{"fail-above": "4"})
    assert done.returncode == 2 and "::error::no file matches **/*.tflite" in done.stdout


def test_action_commands() -> None:
    for step in read(ACTION)["runs"]["steps"]:
        assert "uses" in step or step["shell"] == "bash"
        for line in step.get("run", "").splitlines():
            if line.lstrip().startswith("tosa-rescale"):
                require_known(line.split("||")[0])


# -- the container -----------------------------------------------------------------------------------------------------


def test_container_runs_the_command() -> None:
    lines = [line for line in (ROOT / "Containerfile").read_text().splitlines() if line and not line.startswith("#")]
    words = dict(line.split(" ", 1) for line in lines if line.split()[0] in ("ENTRYPOINT", "CMD", "WORKDIR"))
    assert yaml.safe_load(words["ENTRYPOINT"]) == ["tosa-rescale"] and yaml.safe_load(words["CMD"]) == ["--help"]
    ignored = (ROOT / ".containerignore").read_text().splitlines()
    assert {"dist", "build", ".venv*"} <= set(ignored), "the image is made of sources"
    assert (ROOT / ".dockerignore").resolve() == (ROOT / ".containerignore").resolve()

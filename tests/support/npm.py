"""npm packages for tests, installed at the versions and integrity of a committed package-lock.json."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def install(source: Path, folder: Path) -> Path:
    """A copy of `source` in `folder` with its `node_modules`, as `npm ci` makes it; no install script is run.

    The lock holds versions and integrity and no address: write it with
    `npm install --package-lock-only --omit-lockfile-registry-resolved`.
    """
    if shutil.which("npm") is None:
        say = "no npm: run `.ci/prepare servers`"
        if os.environ.get("CI"):
            pytest.fail(say)
        pytest.skip(say)
    project = folder / source.name
    shutil.copytree(source, project, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return project

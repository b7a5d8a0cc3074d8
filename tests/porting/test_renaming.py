"""What porting an application of these tests takes: its imports say another name, and all else stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.porting.renaming import APPS, copied, renamed

MODULES = sorted(path.stem for path in APPS.glob("*.py"))
PORTED = f"""
import sys
import {", ".join(MODULES)}
from dualroute import DualRoute
assert all(type(module.app) is DualRoute for module in ({", ".join(MODULES)}))
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("starlette", "anyio")))
"""


@pytest.mark.parametrize("module", MODULES)
def test_nothing_but_imports_is_changed(module: str) -> None:
    source = (APPS / f"{module}.py").read_text(encoding="utf-8")
    lines = list(zip(source.splitlines(), renamed(source).splitlines(), strict=True))
    assert [old for old, new in lines if old != new] == [old for old, _ in lines if old.startswith("from starlette")]
    assert [new for _, new in lines if "starlette" in new] == []


def test_a_ported_application_does_without_starlette(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("itsdangerous")
    apps = copied(tmp_path / "apps", ported=True)
    command = [sys.executable, "-W", "error", "-c", PORTED]
    done = subprocess.run(command, cwd=apps, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")

"""A fault in the code of a process that a test starts: it comes with the process's environment, and goes with it.

No bug is known that could be used instead. Python runs ``sitecustomize`` at its start; ours replaces one function as
soon as its module is there, with one that raises, or kills the process, where its arguments say ``poison``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_CODE = """
import importlib.util, os, sys

MODULE, PLACE, ACT = {module!r}, {place!r}, {act!r}

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            *outer, last = PLACE.split(".")
            holder = module
            for part in outer:
                holder = getattr(holder, part)
            real = getattr(holder, last)
            def poisoned(*args, **more):
                if any("poison" in repr(one) for one in args):
                    if ACT == "die":
                        os.kill(os.getpid(), 11)
                    raise ZeroDivisionError("a bug")
                return real(*args, **more)
            setattr(holder, last, poisoned)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


def poison(monkeypatch: pytest.MonkeyPatch, place: Path, function: str, act: str) -> None:
    """Have every process started from now on `raise` or `die` in ``module:function`` where ``poison`` is at hand."""
    module, _, name = function.partition(":")
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(_CODE.format(module=module, place=name, act=act))
    path = [str(place), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))

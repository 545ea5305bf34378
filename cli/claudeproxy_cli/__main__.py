"""``claudeproxy`` and ``python -m claudeproxy_cli``: the process around `main`.

Apart because what it does to the collector is for a process that is ours alone. Loading makes tens of thousands of
objects and no garbage; looking through them again and again, and once more at the end, was an eighth of ``claudeproxy
query`` and a fifth of ``--help``. `main.LazyGroup` turns the collector on again once the command is loaded.
"""

from __future__ import annotations

import gc
import sys


def start() -> int:
    """Run the command line of this process and return the exit code."""
    gc.disable()
    from claudeproxy_cli.main import main

    code = main()
    gc.freeze()  # what remains goes with the process
    return code


if __name__ == "__main__":
    sys.exit(start())

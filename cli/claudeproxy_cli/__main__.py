"""``python -m claudeproxy_cli``: how the command starts itself again, whatever it is called on PATH."""

import sys

from claudeproxy_cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m timeception``: the command line, for launchers such as ``torchrun -m timeception``."""

import sys

from timeception.cli.app import main

if __name__ == "__main__":
    sys.exit(main())

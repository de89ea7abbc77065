"""``python -m timeception``: the command line, also for ``torchrun -m timeception``."""

import sys

from timeception.cli.app import main

if __name__ == "__main__":
    sys.exit(main())

"""The command line: sub-commands are plain typed functions.

Exit status: 0 done, 1 finished but some inputs failed, 2 wrong use, 130 stopped by Ctrl-C.
"""

from timeception.cli.app import main

__all__ = ["main"]

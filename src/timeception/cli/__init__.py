"""The command line: each command is a plain typed function.

Exit status: 0 success, 1 finished although some inputs failed, 2 wrong usage, 130 interrupted by
Ctrl-C.
"""

from timeception.cli.app import main

__all__ = ["main"]

"""
Bring helm here, or everything in the charts up to date that follows from something else.

    python -m tests.charts fetch    # helm, into the cache; prints where it is
    python -m tests.charts sync     # copies, schemas and rendered examples
"""

from __future__ import annotations

import sys

from tests.charts import derived
from tests.charts.helm import HelmError, fetch


def main() -> int:
    """The exit code: 0 done, 1 helm cannot be had, 2 wrong usage."""
    match sys.argv[1:]:
        case ["fetch"]:
            try:
                sys.stdout.write(f"{fetch()}\n")
            except HelmError as error:
                sys.stderr.write(f"{error}\n")
                return 1
        case ["sync"]:
            for path, wanted in derived.copies().items():
                derived.write(path, wanted)
            for path, wanted in derived.renderings().items():
                derived.write(path, wanted)
        case _:
            sys.stderr.write((__doc__ or "").lstrip())
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

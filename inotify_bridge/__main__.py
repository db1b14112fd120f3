"""``python -m inotify_bridge``."""

import sys

from inotify_bridge.cli import main

if __name__ == "__main__":
    sys.exit(main())

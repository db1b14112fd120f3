"""
The module `pyinotify`: it is `inotify_bridge.pyinotify`, under the name that programs import.

After ``import pyinotify`` both names stand for one module object, so what a program assigns
(``pyinotify.log = …``) is what the functions of the façade look up.
"""

import sys

from inotify_bridge import pyinotify

if __name__ == "__main__":
    pyinotify.command_line()
else:
    # The import system hands out what stands here once this file has run.
    sys.modules[__name__] = pyinotify

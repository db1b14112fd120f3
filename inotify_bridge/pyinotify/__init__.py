"""
A drop-in for pyinotify 0.9.6: the same names, signatures and behaviour, on today's Python.

    from inotify_bridge import pyinotify

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager)
    manager.add_watch("/tmp", pyinotify.ALL_EVENTS, rec=True, auto_add=True)
    notifier.loop()

To its users this is one module: `log`, `output_format` and `COMPATIBILITY_MODE` may be assigned, and
everything looks them up here when it needs them. What it does better than the original stands in
docs/pyinotify.md."""

# The modules are names of the original too: a program that imports * has them.
import array as array
import atexit as atexit
import ctypes as ctypes
import errno as errno
import fcntl as fcntl
import glob as glob
import locale as locale
import logging as logging
import os as os
import re as re
import select as select
import struct as struct
import subprocess as subprocess
import sys as sys
import termios as termios
import threading as threading
import time as time
from collections import deque as deque
from datetime import datetime as datetime
from datetime import timedelta as timedelta
from functools import reduce as reduce

from inotify_bridge.capture.constants import IN_ACCESS as IN_ACCESS
from inotify_bridge.capture.constants import IN_ATTRIB as IN_ATTRIB
from inotify_bridge.capture.constants import IN_CLOSE_NOWRITE as IN_CLOSE_NOWRITE
from inotify_bridge.capture.constants import IN_CLOSE_WRITE as IN_CLOSE_WRITE
from inotify_bridge.capture.constants import IN_CREATE as IN_CREATE
from inotify_bridge.capture.constants import IN_DELETE as IN_DELETE
from inotify_bridge.capture.constants import IN_DELETE_SELF as IN_DELETE_SELF
from inotify_bridge.capture.constants import IN_DONT_FOLLOW as IN_DONT_FOLLOW
from inotify_bridge.capture.constants import IN_EXCL_UNLINK as IN_EXCL_UNLINK
from inotify_bridge.capture.constants import IN_IGNORED as IN_IGNORED
from inotify_bridge.capture.constants import IN_ISDIR as IN_ISDIR
from inotify_bridge.capture.constants import IN_MASK_ADD as IN_MASK_ADD
from inotify_bridge.capture.constants import IN_MODIFY as IN_MODIFY
from inotify_bridge.capture.constants import IN_MOVE_SELF as IN_MOVE_SELF
from inotify_bridge.capture.constants import IN_MOVED_FROM as IN_MOVED_FROM
from inotify_bridge.capture.constants import IN_MOVED_TO as IN_MOVED_TO
from inotify_bridge.capture.constants import IN_ONESHOT as IN_ONESHOT
from inotify_bridge.capture.constants import IN_ONLYDIR as IN_ONLYDIR
from inotify_bridge.capture.constants import IN_OPEN as IN_OPEN
from inotify_bridge.capture.constants import IN_Q_OVERFLOW as IN_Q_OVERFLOW
from inotify_bridge.capture.constants import IN_UNMOUNT as IN_UNMOUNT
from inotify_bridge.pyinotify._async import AsyncioNotifier as AsyncioNotifier
from inotify_bridge.pyinotify._async import AsyncNotifier as AsyncNotifier
from inotify_bridge.pyinotify._async import TornadoAsyncNotifier as TornadoAsyncNotifier
from inotify_bridge.pyinotify._async import asyncore as asyncore
from inotify_bridge.pyinotify._bookkeeping import _SysProcessEvent as _SysProcessEvent
from inotify_bridge.pyinotify._cli import command_line as command_line
from inotify_bridge.pyinotify._errors import InotifyBindingNotFoundError as InotifyBindingNotFoundError
from inotify_bridge.pyinotify._errors import NotifierError as NotifierError
from inotify_bridge.pyinotify._errors import ProcessEventError as ProcessEventError
from inotify_bridge.pyinotify._errors import PyinotifyError as PyinotifyError
from inotify_bridge.pyinotify._errors import UnsupportedPythonVersionError as UnsupportedPythonVersionError
from inotify_bridge.pyinotify._errors import WatchManagerError as WatchManagerError
from inotify_bridge.pyinotify._events import Event as Event
from inotify_bridge.pyinotify._events import _Event as _Event
from inotify_bridge.pyinotify._events import _RawEvent as _RawEvent
from inotify_bridge.pyinotify._flags import ALL_EVENTS as ALL_EVENTS
from inotify_bridge.pyinotify._flags import EventsCodes as EventsCodes
from inotify_bridge.pyinotify._format import ColoredOutputFormat as ColoredOutputFormat
from inotify_bridge.pyinotify._format import RawOutputFormat as RawOutputFormat
from inotify_bridge.pyinotify._handlers import ChainIfTrue as ChainIfTrue
from inotify_bridge.pyinotify._handlers import PrintAllEvents as PrintAllEvents
from inotify_bridge.pyinotify._handlers import ProcessEvent as ProcessEvent
from inotify_bridge.pyinotify._handlers import Stats as Stats
from inotify_bridge.pyinotify._handlers import _ProcessEvent as _ProcessEvent
from inotify_bridge.pyinotify._kernel import INotifyWrapper as INotifyWrapper
from inotify_bridge.pyinotify._kernel import ProcINotify as ProcINotify
from inotify_bridge.pyinotify._manager import WatchManager as WatchManager
from inotify_bridge.pyinotify._notifier import Notifier as Notifier
from inotify_bridge.pyinotify._threaded import ThreadedNotifier as ThreadedNotifier
from inotify_bridge.pyinotify._watches import ExcludeFilter as ExcludeFilter
from inotify_bridge.pyinotify._watches import Watch as Watch

__author__ = "the authors of inotify-bridge"
__version__ = "0.9.6"

COMPATIBILITY_MODE = False
"""Whether events have `is_dir` and `event_name` too; set by `compatibility_mode`."""

output_format = RawOutputFormat()
"""How events, watches and statistics are written."""

max_queued_events = ProcINotify("max_queued_events")
max_user_instances = ProcINotify("max_user_instances")
max_user_watches = ProcINotify("max_user_watches")


def logger_init() -> logging.Logger:
    """Give the logger `pyinotify` a handler that writes to standard error, and the level INFO."""
    logger = logging.getLogger("pyinotify")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("[%(asctime)s %(name)s %(levelname)s] %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return logger


log = logger_init()
"""Where all is logged."""


def compatibility_mode() -> None:
    """For programs of version 0.7: give `EventsCodes` its flags, and events their old attributes too."""
    global COMPATIBILITY_MODE  # noqa: PLW0603 - programs look here whether it is on
    COMPATIBILITY_MODE = True
    for flag, value in EventsCodes.ALL_FLAGS.items():
        setattr(EventsCodes, flag, value)


# What else `import *` of the original gives: what its loops leave behind, the C binding that it looks for,
# and asyncore, None where there is none.
inotify_syscalls = None
flagc, valc = "SPECIAL_FLAGS", EventsCodes.SPECIAL_FLAGS
name, val = "IN_ONESHOT", IN_ONESHOT
attrname = "max_user_watches"

"""inotify-bridge: change data capture for directories, a file-event stream that never lies."""

__version__ = "0.1.0"

"""``python -m inotify_bridge.pyinotify [options] [path …]``."""

from inotify_bridge.pyinotify import command_line

if __name__ == "__main__":
    command_line()

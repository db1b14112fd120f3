"""
Verified opens: the way from a directory of the model to its descriptor.

A directory is opened relative to its root, following no symbolic link, and counts only if it is the very
inode that the model means. The last few stay open for the length of a batch, because what comes next is
mostly near.
"""

from __future__ import annotations

import errno
from collections import OrderedDict

from inotify_bridge.capture.port import FileSystem, Handle
from inotify_bridge.capture.tree import Directory, Root

_OPEN_AT_MOST = 64
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Doors:
    """
    Open directories of the model. Used by the recorder's thread only.

    Every door is closed with the batch: an open descriptor would keep a file system from being unmounted.
    """

    def __init__(self, port: FileSystem) -> None:
        self._port = port
        self._open: OrderedDict[Directory, Handle] = OrderedDict()

    def open(self, node: Directory) -> Handle | None:
        """
        The directory's descriptor; it stays owned here.

        Returns:
            None where the model's path does not lead to this very directory (yet).

        Raises:
            OSError: EACCES, EMFILE and the like: nothing is known.
        """
        handle = self._open.get(node)
        if handle is not None:
            self._open.move_to_end(node)
            return handle
        try:
            handle = self._reach(node)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        if handle is not None:
            self.keep(node, handle)
        return handle

    def keep(self, node: Directory, handle: Handle) -> None:
        """Leave a descriptor here for whoever comes next."""
        self._open[node] = handle
        if len(self._open) > _OPEN_AT_MOST:
            self._open.popitem(last=False)[1].close()

    def take(self, node: Directory) -> Handle | None:
        """Like `open`, but the descriptor is the caller's to close (or to `keep`)."""
        handle = self.open(node)
        if handle is not None:
            del self._open[node]
        return handle

    def close(self) -> None:
        """Close all of them."""
        for handle in self._open.values():
            handle.close()
        self._open.clear()

    def forget(self, node: Directory) -> None:
        """Close one: it may not be what it was."""
        handle = self._open.pop(node, None)
        if handle is not None:
            handle.close()

    def _reach(self, node: Directory) -> Handle | None:
        parts: list[bytes] = []
        at, near = node, None
        while near is None and at.parent is not None:
            parts.append(at.name)
            at = at.parent
            near = self._open.get(at)
        if near is not None:
            return self._verified(self._port.open_below(near, b"/".join(reversed(parts))), node)
        if not isinstance(at, Root) or at.lost:
            return None
        handle = self._verified(self._port.open_root(at.place), at)
        if handle is None or at is node:
            return handle
        self.keep(at, handle)
        return self._verified(self._port.open_below(handle, b"/".join(reversed(parts))), node)

    @staticmethod
    def _verified(handle: Handle, node: Directory) -> Handle | None:
        if handle.identity == (node.device, node.inode):
            return handle
        handle.close()
        return None

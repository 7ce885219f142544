"""Changes of files on Windows, through notifications of the folders that they are in.

How they behave, and what follows:

- A folder is watched, not a file: whatever happens to the size or the time of any of its files
  is told. So the key is the folder, and the loop looks at the files in it that it follows.
- NTFS notes a new size in the folder late: when the writer closes, or flushes. So not every
  change is told, and the loop looks from time to time as well.
- A thread can wait for 64 handles. One of them ends the wait, so a thread watches 63 folders.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Hashable
from typing import Any

from evenloop.engines import winapi
from evenloop.engines.changes import Changes, News

__all__ = ["DirectoryChanges"]

_SIZE_OR_TIME = 0x8 | 0x10  # FILE_NOTIFY_CHANGE_SIZE, FILE_NOTIFY_CHANGE_LAST_WRITE
_INVALID = ctypes.c_void_p(-1).value
_FOLDERS = 63
_LONGEST_PATH = 32768


class _Folder:
    """A folder, its notification, and how many files want it."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self.handle = handle
        self.users = 0


class DirectoryChanges(Changes):
    """Notifications of folders, waited for by a thread."""

    name = "directory notification"

    def __init__(self, wake: Callable[[], None]) -> None:
        """Call `wake()`, in a thread, when there is news."""
        self._wake = wake
        self._folders: dict[str, _Folder] = {}
        # What the thread has seen, and what it waits for.
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._ended: list[_Folder] = []
        self._closing = False
        self._renew = winapi.AutoEvent()
        self._thread: threading.Thread | None = None

    def add(self, fd: int) -> tuple[Hashable, bool]:
        """Watch the folder of an open file."""
        path = _folder_of(fd)
        with self._lock:
            folder = self._folders.get(path)
            if folder is None:
                if len(self._folders) >= _FOLDERS:
                    raise OSError(f"{_FOLDERS} folders are watched already")
                handle = _kernel32().FindFirstChangeNotificationW(path, False, _SIZE_OR_TIME)
                if handle == _INVALID:
                    raise winapi.error()
                folder = self._folders[path] = _Folder(path, handle)
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="evenloop-folders", daemon=True
                    )
                    self._thread.start()
                self._renew.set()
            folder.users += 1
        return path, False

    def remove(self, key: Any) -> None:
        """Watch a folder no more, if nobody else wants it."""
        with self._lock:
            folder = self._folders.get(key)
            if folder is None:
                return
            folder.users -= 1
            if folder.users <= 0:
                del self._folders[key]
                # Closed by the thread, which may be waiting for it.
                self._ended.append(folder)
                self._renew.set()

    def fileno(self) -> int:
        """Return -1: there is no descriptor."""
        return -1

    def collect(self) -> News:
        """Return the news."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return News(list(changed), [])

    def after_fork(self) -> None:
        """Do nothing: Windows has no fork."""

    def close(self) -> None:
        """End the thread, and release the notifications."""
        with self._lock:
            self._closing = True
            thread = self._thread
            self._renew.set()
        if thread is not None:
            thread.join()
        self._renew.close()

    def _run(self) -> None:
        while True:
            with self._lock:
                for folder in self._ended:
                    _kernel32().FindCloseChangeNotification(folder.handle)
                self._ended.clear()
                if self._closing:
                    for folder in self._folders.values():
                        _kernel32().FindCloseChangeNotification(folder.handle)
                    self._folders.clear()
                    return
                folders = list(self._folders.values())
            index = winapi.wait_any([self._renew.handle, *[one.handle for one in folders]])
            if not index:
                continue
            folder = folders[index - 1]
            with self._lock:
                self._changed.add(folder.path)
            _kernel32().FindNextChangeNotification(folder.handle)
            self._wake()


def _folder_of(handle: int) -> str:
    """Return the path of the folder that an open file is in."""
    buffer = ctypes.create_unicode_buffer(_LONGEST_PATH)
    length = _kernel32().GetFinalPathNameByHandleW(handle, buffer, _LONGEST_PATH, 0)
    if not length:
        raise winapi.error()
    return buffer.value.rpartition("\\")[0] + "\\"


@functools.cache
def _kernel32() -> Any:
    windows: Any = ctypes
    kernel32 = windows.WinDLL("kernel32", use_last_error=True)
    handle, number, pointer = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p
    for function, result, arguments in (
        (
            kernel32.FindFirstChangeNotificationW,
            handle,
            (ctypes.c_wchar_p, ctypes.c_int32, number),
        ),
        (kernel32.FindNextChangeNotification, ctypes.c_int32, (handle,)),
        (kernel32.FindCloseChangeNotification, ctypes.c_int32, (handle,)),
        (kernel32.GetFinalPathNameByHandleW, number, (handle, pointer, number, number)),
    ):
        function.restype = result
        function.argtypes = arguments
    return kernel32

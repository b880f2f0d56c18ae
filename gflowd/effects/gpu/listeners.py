"""Whose stream socket listens at an abstract name, as the kernel lists them (sock_diag(7)): that can be told also where
nobody can connect since strangers have filled its queue.
"""

from __future__ import annotations

import socket
import struct

SOCK_DIAG_BY_FAMILY = 20
DUMP = 0x301  # NLM_F_REQUEST, NLM_F_DUMP
DONE, ERROR = 3, 2
LISTENS = 1 << 10
SHOW_NAME, SHOW_UID = 0x1, 0x40
NAME, UID = 0, 7  # attributes: UNIX_DIAG_NAME, UNIX_DIAG_UID (since Linux 5.3)
BLOCK = 1 << 16  # bytes
PATIENCE = 1.0  # seconds
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BBHIIIII")  # struct unix_diag_req
_MESSAGE = 16  # bytes of struct unix_diag_msg
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_NUMBER = struct.Struct("=I")


def owner(name: str) -> int | None:
    """The user id of who listens at that name; None if nobody does, or if the kernel does not tell."""
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, LISTENS, 0, SHOW_NAME | SHOW_UID, 0, 0)
    head = _HEADER.pack(_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, DUMP, 1, 0)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    try:
        with socket.socket(socket.AF_NETLINK, kind, 4) as kernel:  # NETLINK_SOCK_DIAG
            kernel.settimeout(PATIENCE)
            kernel.send(head + request)
            return _find(kernel, name.encode())
    except (OSError, struct.error):
        return None


def _find(kernel: socket.socket, name: bytes) -> int | None:
    found: int | None = None
    while True:
        data = memoryview(kernel.recv(BLOCK))
        while len(data) >= _HEADER.size:
            length, kind = _HEADER.unpack_from(data)[:2]
            if kind in (DONE, ERROR) or length < _HEADER.size:
                return found
            attributes = _attributes(data[_HEADER.size + _MESSAGE : length])
            is_stream = data[_HEADER.size + 1] == socket.SOCK_STREAM  # other kinds have the same names for themselves
            if is_stream and attributes.get(NAME) == name and UID in attributes:
                found = int(_NUMBER.unpack(attributes[UID])[0])
            data = data[_aligned(length) :]


def _attributes(data: memoryview) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = bytes(data[_ATTRIBUTE.size : length])
        data = data[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3

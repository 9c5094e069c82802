"""Datagrams to a service manager, where there is one."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from installation.service.notify import Notify

unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_socket_nothing_happens(address: str | None) -> None:
    notify = Notify(address)
    assert not notify.send("READY=1")
    notify.close()


@unix
def test_lines_go_out_as_one_datagram(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        notify = Notify(str(tmp_path / "n"))
        assert notify.send("READY=1", "STATUS=läuft")
        assert manager.recv(4096) == "READY=1\nSTATUS=läuft".encode()
        notify.close()


@unix
@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's")
def test_an_abstract_address_works() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # the system picks an abstract address
        name = manager.getsockname()
        notify = Notify("@" + name[1:].decode())
        assert notify.send("WATCHDOG=1")
        assert manager.recv(4096) == b"WATCHDOG=1"
        notify.close()


@unix
def test_a_manager_that_is_gone_or_never_reads_is_no_fault(tmp_path: Path) -> None:
    notify = Notify(str(tmp_path / "missing"))
    assert not notify.send("READY=1")
    notify.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        notify = Notify(str(tmp_path / "n"))
        assert not all(notify.send("WATCHDOG=1" * 100) for _ in range(10_000))
        notify.close()

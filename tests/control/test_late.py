"""A source whose port is taken is heard as soon as the port is free."""

from __future__ import annotations

import socket
import time

from installation.control.late import LateSource
from installation.control.osc import OscSource
from installation.control.osc_codec import encode
from installation.show.params import parameter_table
from tests.xserver import until


def test_it_is_silent_until_the_port_is_free_and_then_heard() -> None:
    table = parameter_table()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, socket.socket(type=socket.SOCK_DGRAM) as hand:
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
        late = LateSource(lambda: OscSource(table, host=address[0], port=address[1]), every_s=0.01)
        assert late.poll() == []
        late.publish({})
        taken.close()
        assert until(lambda: late.name != "null")
        heard: list[str] = []

        def speak() -> bool:
            hand.sendto(encode("/installation/drift/speed", [1.0]), address)
            heard.extend(message.name for message in late.poll())
            return bool(heard)

        assert until(speak)
        assert heard[0] == "drift/speed"
        late.close()
        late.close()
        hand.sendto(encode("/installation/drift/speed", [1.0]), address)
        assert late.poll() == []


def test_closed_first_it_never_opens() -> None:
    opened: list[int] = []

    def make() -> OscSource:
        opened.append(1)
        return OscSource(parameter_table(), host="127.0.0.1", port=0)

    late = LateSource(make, every_s=0.05)
    late.close()
    time.sleep(0.1)
    assert opened == []

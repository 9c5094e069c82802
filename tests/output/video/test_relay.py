"""Relays keep order, hold no more than they may, and hand faults on."""

from __future__ import annotations

import threading

import pytest

from installation.output.video.relay import Relay


def test_items_come_in_order_and_close_waits_for_all():
    done: list[int] = []
    ended = threading.Event()
    relay = Relay("test", done.append, ahead=2, ending=ended.set)
    for number in range(50):
        relay.put(number)
    relay.close()
    assert done == list(range(50))
    assert ended.is_set()


def test_whoever_feeds_it_waits_while_it_is_full():
    gate, begun = threading.Event(), threading.Semaphore(0)

    def work(item: int) -> None:
        begun.release()
        gate.wait()

    relay = Relay("test", work, ahead=2)
    put = []

    def feed() -> None:
        for number in range(6):
            relay.put(number)
            put.append(number)

    feeder = threading.Thread(target=feed)
    feeder.start()
    begun.acquire()
    feeder.join(0.3)
    assert len(put) <= 3
    gate.set()
    feeder.join()
    relay.close()


def test_a_fault_comes_out_where_it_is_fed():
    ended = threading.Event()

    def work(item: int) -> None:
        raise OSError("broken")

    relay = Relay("test", work, ahead=1, ending=ended.set)
    with pytest.raises(OSError, match="broken"):
        feed(relay)
    relay.drop()
    assert ended.is_set()


def feed(relay: Relay[int]) -> None:
    for number in range(5):
        relay.put(number)


def test_a_fault_of_the_last_item_comes_out_of_close():
    relay = Relay("test", {}.__getitem__, ahead=1)
    relay.put(1)
    with pytest.raises(KeyError):
        relay.close()


def test_dropped_it_takes_nothing_and_lets_go_whoever_waits():
    gate, begun = threading.Event(), threading.Event()

    def work(item: int) -> None:
        begun.set()
        gate.wait()

    relay = Relay("test", work, ahead=1)
    feeder = threading.Thread(target=feed, args=(relay,), daemon=True)
    feeder.start()
    begun.wait()
    dropper = threading.Thread(target=relay.drop)
    dropper.start()
    feeder.join(10)
    waits = feeder.is_alive()
    gate.set()
    dropper.join()
    assert not waits


def test_dropped_it_ends_at_once():
    gate = threading.Event()

    def work(item: int) -> None:
        gate.wait()

    relay = Relay("test", work, ahead=4)
    for number in range(4):
        relay.put(number)
    gate.set()
    relay.drop()

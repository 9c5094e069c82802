"""How many threads: the number that is faster, tried now and again, at little cost."""

from __future__ import annotations

from installation.training.base.threads import ThreadChoice


class Machine:
    """Steps take `seconds[threads]`, on a clock of their own."""

    def __init__(self, most: int, **seconds: float) -> None:
        self.seconds = {int(name[1:]): value for name, value in seconds.items()}
        self.now, self.threads, self.history = 0.0, most, []
        self.choice = ThreadChoice(most, use=self.use, clock=lambda: self.now)

    def use(self, threads: int) -> None:
        self.threads = threads

    def run(self, duration: float) -> None:
        end = self.now + duration
        while self.now < end:
            took = self.seconds[self.threads]
            self.now += took
            self.history.append((self.threads, took))
            self.choice.done(took)


def share_of(machine: Machine, threads: int) -> float:
    total = sum(took for _, took in machine.history)
    return sum(took for used, took in machine.history if used == threads) / total


def test_on_a_quiet_machine_all_threads_are_used() -> None:
    machine = Machine(2, t1=0.2, t2=0.11)
    machine.run(300)
    assert machine.threads == 2
    assert share_of(machine, 2) > 0.95


def test_where_threads_wait_for_each_other_one_is_used_and_the_trials_cost_little() -> None:
    machine = Machine(2, t1=0.4, t2=5.0)
    machine.run(3000)
    assert machine.threads == 1
    assert share_of(machine, 1) > 0.97


def test_it_changes_its_mind_when_the_machine_does() -> None:
    machine = Machine(2, t1=0.4, t2=5.0)
    machine.run(200)
    machine.seconds[2] = 0.2
    machine.run(2000)
    assert machine.threads == 2
    machine.seconds[2] = 5.0
    machine.run(2000)
    assert machine.threads == 1


def test_with_one_thread_there_is_nothing_to_choose() -> None:
    machine = Machine(1, t1=0.1)
    machine.threads = 7
    machine.choice.done(0.1)
    assert machine.threads == 7

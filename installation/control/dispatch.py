"""What an OSC message means: address and arguments -> ControlMessage, a question to answer, or a counted drop.

Owns the address map, made once from the table: each row at its address; each valued row once more at `…/norm`, 0..1;
`/installation/ping`, `/installation/version`, `/installation/status`,
`/installation/refresh`. Pure but for the counters; runs in the OSC source's thread.

    /installation/drift/speed 0.5          set, engineering units, clamped to the row's range
    /installation/drift/speed 0.5 10       set, moving there in 10 s (0..3600)
    /installation/drift/speed              get (also with "?"): answered at the same address
    /installation/drift/speed/norm 0.75    the same knob as 0..1
    /installation/walk/next                a button: no argument, I, T or a number above 0 fires; F, 0: released
    /installation/look/* 0.5               a pattern sets all it matches (blackout!), it does not ask; buttons need an argument, too

int, float, double, int64 and bool are taken for every numeric row and for bool (true above 0). A choice takes its name
or its index.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from installation.control.bucket import Bucket
from installation.control.drops import Drops
from installation.control.osc_codec import IMPULSE, Argument, Message
from installation.control.pattern import PatternError, expand, is_pattern
from installation.show.messages import ControlMessage
from installation.show.params import PREFIX, Param, ParamTable, Value

MAX_RAMP_S = 3600.0
REASONS = (
    "unknown_address",
    "wrong_type",
    "wrong_arity",
    "not_finite",
    "unknown_choice",
    "bad_ramp",
    "bad_pattern",
    "pattern_rate",
    "read_only",
    "own_output",
)
"""Why a message is dropped. Beside these `clamped` counts values that were out of range and are used at its end."""

_OUT = f"{PREFIX}/out/"
_PING, _VERSION, _STATUS = f"{PREFIX}/ping", f"{PREFIX}/version", f"{PREFIX}/status"
REFRESH = f"{PREFIX}/refresh"
QUESTIONS = frozenset({_PING, _VERSION, _STATUS})
"""Addresses that are answered and belong to no parameter."""
# A new pattern costs up to a millisecond, so new ones are rationed; one that comes again is remembered.
_NEW_PATTERNS_PER_S, _NEW_PATTERNS_BURST, _PATTERNS_KEPT = 100.0, 64, 64


@dataclass(frozen=True, slots=True)
class Get:
    """Someone asks for a value, in engineering units or as 0..1."""

    param: Param
    norm: bool


@dataclass(frozen=True, slots=True)
class Say:
    """An answer that needs no value: ping, version, status."""

    address: str
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Refresh:
    """Those who are told of changes are to be told all values."""


Action = ControlMessage | Get | Say | Refresh


@dataclass(frozen=True, slots=True)
class _Binding:
    """One address. lo, hi: outside of them a number counts as clamped."""

    address: str
    param: Param
    name: str
    norm: bool
    convert: Callable[[Value], Value]
    lo: float
    hi: float


def _bindings(table: ParamTable) -> dict[str, _Binding]:
    bindings: dict[str, _Binding] = {}
    for param in table:
        lo, hi = param.lo, param.hi
        if param.kind == "choice" and not param.numbers:
            lo, hi = 0.0, float(len(param.choices) - 1)
        elif param.kind in ("choice", "bool", "button"):
            lo, hi = -math.inf, math.inf
        bindings[param.address] = _Binding(param.address, param, param.name, False, param.coerce, lo, hi)
        if param.kind != "button":
            norm = f"{param.address}/norm"
            bindings[norm] = _Binding(norm, param, param.name, True, _from_norm(param), 0.0, 1.0)
    return bindings


def _from_norm(param: Param) -> Callable[[Value], Value]:
    def convert(x: Value) -> Value:
        if not isinstance(x, (int, float)):
            raise ValueError(f"{param.name}/norm: a number from 0 to 1 is wanted, not {x!r:.60}")
        return param.from_norm(float(x))

    return convert


def answer(action: Get | Say, values: Mapping[str, Value]) -> Message:
    """Address and arguments of the reply; values: the newest of each parameter, else the row's default."""
    if isinstance(action, Say):
        return action.address, action.args
    param = action.param
    value = values.get(param.name, param.default)
    if action.norm:
        return f"{param.address}/norm", (float(param.to_norm(value)),)
    return param.address, (float(value) if param.kind == "float" else value,)


class Dispatcher:
    """The address map of one table. `drops` counts; its reasons must hold REASONS and `clamped`. One thread."""

    def __init__(
        self,
        table: ParamTable,
        drops: Drops,
        *,
        version: str = "",
        status: Callable[[], tuple[Argument, ...]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bindings = _bindings(table)
        self._drops = drops
        self._version, self._status = version, status
        self._patterns: dict[str, tuple[_Binding, ...]] = {}
        self._new_patterns = Bucket(_NEW_PATTERNS_PER_S, _NEW_PATTERNS_BURST, clock)

    def dispatch(self, address: str, args: Sequence[Argument], origin: str = "") -> tuple[Action, ...]:
        """What the message asks for: nothing, one thing, or for a pattern one ControlMessage a match. Never raises."""
        binding = self._bindings.get(address)
        if binding is None:
            return self._elsewhere(address, args, origin)
        action = self._act(binding, args, origin)
        return () if action is None else (action,)

    def _act(self, binding: _Binding, args: Sequence[Argument], origin: str) -> ControlMessage | Get | None:
        count = len(args)
        if binding.param.kind == "button":
            return self._press(binding, args, origin)
        if count == 0 or (count == 1 and args[0] == "?"):
            return Get(binding.param, binding.norm)
        if count > 2:
            return self._refuse("wrong_arity", binding.address, f"{count} arguments", origin)
        value = args[0]
        try:
            coerced = binding.convert(value)  # pyright: ignore[reportArgumentType] - a wrong type is a ValueError
        except ValueError as fault:
            return self._refuse(_reason(binding, value), binding.address, str(fault), origin)
        ramp_s = None
        if count == 2:
            ramp_s = _ramp(args[1])
            if ramp_s is None:
                return self._refuse("bad_ramp", binding.address, f"a ramp of {args[1]!r:.60} s", origin)
        if not isinstance(value, str) and not binding.lo <= value <= binding.hi:  # pyright: ignore[reportOperatorIssue]
            self._drops.note("clamped")
        return ControlMessage(binding.name, coerced, ramp_s, origin)

    def _press(self, binding: _Binding, args: Sequence[Argument], origin: str) -> ControlMessage | None:
        return ControlMessage(binding.name, None, None, origin) if self._fires(binding.address, args, origin) else None

    def _fires(self, address: str, args: Sequence[Argument], origin: str) -> bool:
        """Whether a button is pressed, neither let go nor refused."""
        if len(args) > 1:
            return bool(self._refuse("wrong_arity", address, f"{len(args)} arguments", origin))
        value = args[0] if args else True
        if value is IMPULSE:
            value = True
        if not isinstance(value, (int, float)):
            return bool(self._refuse("wrong_type", address, f"{value!r:.60} for a button", origin))
        if isinstance(value, float) and not math.isfinite(value):
            return bool(self._refuse("not_finite", address, str(value), origin))
        return value > 0

    def _elsewhere(self, address: str, args: Sequence[Argument], origin: str) -> tuple[Action, ...]:
        if address == _PING:
            return (Say(f"{_OUT}ping", tuple(args)),)
        if address in (_VERSION, _STATUS):
            if args and args[0] != "?":
                self._refuse("read_only", address, "it cannot be set", origin)
                return ()
            said = (self._version,) if address == _VERSION else self._status()
            return (Say(f"{_OUT}{address.rpartition('/')[2]}", said),)
        if address == REFRESH:
            return (Refresh(),) if self._fires(address, args, origin) else ()
        if address.startswith(_OUT):
            # Our own replies, sent back by a client that mirrors what it hears.
            self._refuse("own_output", address, "an address for replies", origin)
            return ()
        if is_pattern(address):
            return self._match(address, args, origin)
        self._refuse("unknown_address", address, "no such address", origin)
        return ()

    def _match(self, pattern: str, args: Sequence[Argument], origin: str) -> tuple[Action, ...]:
        found = self._patterns.get(pattern)
        if found is None:
            if not self._new_patterns.take():
                self._refuse("pattern_rate", pattern, "too many different patterns", origin)
                return ()
            try:
                found = tuple(self._bindings[address] for address in expand(pattern, self._bindings))
            except PatternError as fault:
                self._refuse("bad_pattern", pattern, str(fault), origin)
                return ()
            if len(self._patterns) >= _PATTERNS_KEPT:
                del self._patterns[next(iter(self._patterns))]
            self._patterns[pattern] = found
        if not found:
            self._refuse("unknown_address", pattern, "no address matches", origin)
            return ()
        if not args or args[0] == "?":
            self._refuse("wrong_arity", pattern, "a pattern sets, it does not ask", origin)
            return ()
        actions = (self._act(binding, args, origin) for binding in found)
        return tuple(action for action in actions if action is not None)

    def _refuse(self, reason: str, address: str, detail: str, origin: str) -> None:
        self._drops.drop(reason, f"{address}: {detail}", origin)


def _reason(binding: _Binding, value: Argument) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "not_finite"
    if isinstance(value, (str, int, float)) and binding.param.kind == "choice" and not binding.norm:
        return "unknown_choice"
    return "wrong_type"


def _ramp(value: Argument) -> float | None:
    """Seconds, or None for what is no ramp."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= MAX_RAMP_S:
        return None
    return float(value)

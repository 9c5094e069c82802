"""Reads the pickle format without pickle: an interpreter of its instructions that builds plain data and nothing else.

The standard library's `pickletools` only takes the instructions apart. What a file may name, and what is built for it, is a table that
the caller hands in: plain functions of ours that make tensors, arrays and records. There is no import, no attribute lookup and no
call of anything that a file names, so there is nothing that a file could run.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from installation.errors import CheckpointError
from installation.models.importers import numpy_values
from installation.models.importers.budget import Budget
from installation.models.importers.inert import Inert, Name
from installation.models.importers.numpy_values import NumberType

MAX_NESTING = 100
MAX_INT_BITS = 128  # only torch's 80-bit file mark is longer than 64

# Makes the value for a call of a name with these arguments.
Constructor = Callable[..., Any]

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# Numbers, text and bytes: the instructions that push what stands behind them. Those that push "any object" look it up somewhere.
_PLAIN = frozenset(
    op.name
    for op in pickletools.opcodes
    if op.arg and not op.stack_before and op.stack_after and op.stack_after != [pickletools.anyobject]
)
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def interpret(
    stream: io.BytesIO,
    budget: Budget,
    *,
    constructors: Mapping[str, Constructor],
    is_inert: Callable[[str], bool] = lambda name: False,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The value of the pickle at the stream's position, which is moved past it.

    constructors: dotted name -> what to make when the file calls it. is_inert: names of which a record is kept: an `Inert` when
    called, a `Name` otherwise. persistent: the value for a persistent id, torch's reference to a storage.
    CheckpointError for every other name, and on any other fault.
    """
    try:
        value = _Machine(budget, constructors, is_inert, persistent).run(stream)
    except CheckpointError:
        raise
    except Exception as error:
        # Damage shows as whatever the standard library's reader or an array's constructor raises first; all of it means the same here.
        raise CheckpointError(f"damaged ({type(error).__name__}: {str(error)[:100]})") from error
    _check_nesting(value)
    return value


class _Machine:
    """The stack, the memo, and what each instruction does to them."""

    def __init__(
        self,
        budget: Budget,
        constructors: Mapping[str, Constructor],
        is_inert: Callable[[str], bool],
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        self._budget, self._constructors, self._is_inert, self._persistent = budget, constructors, is_inert, persistent
        self._stack: list[Any] = []
        self._memo: dict[str, Any] = {}  # by the number as text, see Budget.number_key

    def run(self, stream: io.BytesIO) -> Any:
        for op, arg, _ in pickletools.genops(stream):
            self._budget.step()
            if op.name in _PLAIN:
                if isinstance(arg, int) and arg.bit_length() > MAX_INT_BITS:
                    raise CheckpointError(f"a number of {arg.bit_length()} bits")
                self._stack.append(arg)
            elif op.name == "STOP":
                return self._pop()
            else:
                self._do(op.name, arg)
        raise AssertionError("pickletools ends at STOP or raises")

    def _do(self, name: str, arg: Any) -> None:
        stack = self._stack
        match name:
            case "BINGET" | "LONG_BINGET" | "GET":
                if str(arg) not in self._memo:
                    raise CheckpointError(f"refers to value {arg}, which it never stored")
                stack.append(self._memo[str(arg)])
            case "MEMOIZE":
                self._memo[str(len(self._memo))] = self._top()
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self._memo[str(arg)] = self._top()
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[name])
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop() for _ in range(_TUPLES[name]))[::-1])
            case "TUPLE":
                stack.append(tuple(self._pop_marked()))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_SET":
                stack.append(set())
            case "LIST":
                stack.append(self._pop_marked())
            case "DICT":
                stack.append(_fill({}, self._pop_marked(), self._budget))
            case "FROZENSET":
                stack.append(frozenset(as_key(item, self._budget) for item in self._pop_marked()))
            case "APPEND":
                item = self._pop()
                self._target(list).append(item)
            case "APPENDS":
                items = self._pop_marked()
                self._target(list).extend(items)
            case "ADDITEMS":
                items = self._pop_marked()
                self._target(set).update(as_key(item, self._budget) for item in items)
            case "SETITEM":
                value, key = self._pop(), self._pop()
                _fill(self._target(dict), [key, value], self._budget)
            case "SETITEMS":
                items = self._pop_marked()
                _fill(self._target(dict), items, self._budget)
            case "REDUCE" | "NEWOBJ":
                args, called = self._pop(), self._pop()
                stack.append(self._call(called, args))
            case "NEWOBJ_EX":
                named, args, called = self._pop(), self._pop(), self._pop()
                if named != {}:
                    raise CheckpointError("an object made with named arguments")
                stack.append(self._call(called, args))
            case "BUILD":
                state = self._pop()
                stack.append(self._filled(self._pop(), state))
            case "STACK_GLOBAL":
                attribute, module = self._pop(), self._pop()
                stack.append(self._named(module, attribute))
            case "GLOBAL":
                stack.append(self._named(*arg.split(" ", 1)))
            case "BINPERSID":
                if self._persistent is None:
                    raise CheckpointError("a reference to something outside the file")
                stack.append(self._persistent(self._pop()))
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._pop_marked()
            case "DUP":
                stack.append(self._top())
            case "PROTO" | "FRAME":
                pass
            case _:
                raise CheckpointError(f"the instruction {name}, which no checkpoint needs")

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise CheckpointError("damaged: a value is missing")
        return self._stack[-1]

    def _pop(self) -> Any:
        value = self._top()
        self._stack.pop()
        return value

    def _pop_marked(self) -> list[Any]:
        """All above the last mark, and the mark."""
        items = []
        while self._stack:
            if (item := self._stack.pop()) is _MARK:
                return items[::-1]
            items.append(item)
        raise CheckpointError("damaged: a mark is missing")

    def _target(self, kind: type) -> Any:
        if type(self._top()) is not kind:
            raise CheckpointError(f"fills something that is no {kind.__name__}")
        return self._top()

    def _named(self, module: Any, attribute: Any) -> Name:
        if not (isinstance(module, str) and isinstance(attribute, str)):
            raise CheckpointError("damaged: a name that is no text")
        name = f"{module}.{attribute}"
        if name not in self._constructors and not self._is_inert(name):
            raise CheckpointError(
                f"the file asks for {name[:100]!r}, which is not on the list of what a checkpoint may name",
                fix="Nothing in it was run. If the file is yours, save its state dict alone (tensors and names)",
            )
        return Name(name)

    def _call(self, called: Any, args: Any) -> Any:
        if not isinstance(called, Name) or not isinstance(args, tuple):
            raise CheckpointError("damaged: calls something that is no name")
        constructor = self._constructors.get(called.text)
        return Inert(called.text, args) if constructor is None else constructor(*args)

    def _filled(self, value: Any, state: Any) -> Any:
        """The value after its state was set. A record and numpy's values keep it; plain data has no use for it."""
        if isinstance(value, Inert):
            value.state = state
        elif isinstance(value, (np.ndarray, NumberType)):
            numpy_values.fill(value, state, self._budget)
        elif not isinstance(value, (dict, Tensor)):
            raise CheckpointError(f"sets the state of a {type(value).__name__}")
        return value


def as_key(value: Any, budget: Budget) -> Any:
    """The value, if it may be a key or stand in a set. Tuples of tuples may not: hashing them can take for ever."""
    if isinstance(value, (int, float)):
        budget.number_key()
    if value is None or isinstance(value, (str, bytes, int, float, Name)):
        return value
    raise CheckpointError(f"a key of type {type(value).__name__}")


def _fill(target: dict[Any, Any], items: list[Any], budget: Budget) -> dict[Any, Any]:
    """items: key, value, key, value, ..."""
    if len(items) % 2:
        raise CheckpointError("damaged: a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[as_key(key, budget)] = value
    return target


def _check_nesting(root: Any) -> None:
    """CheckpointError if containers are nested more than MAX_NESTING deep. Visits each container once; a circle is not deep."""
    depth: dict[int, int] = {}  # of the containers that were met; 0 while what one holds is being visited
    waiting = [root]
    while waiting:
        value = waiting[-1]
        if depth.get(id(value), 0):  # stored in several places, and visited already
            waiting.pop()
            continue
        inside = [item for item in _inside(value) if isinstance(item, _CONTAINERS)]
        if id(value) not in depth:
            depth[id(value)] = 0
            waiting += [item for item in inside if id(item) not in depth]
            continue
        waiting.pop()
        depth[id(value)] = 1 + max((depth[id(item)] for item in inside), default=0)
        if depth[id(value)] > MAX_NESTING:
            raise CheckpointError(f"values are nested more than {MAX_NESTING} deep")


_CONTAINERS = (dict, list, tuple, set, frozenset, Inert)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Inert):
        return (value.args, value.state)  # the tuple itself: a thousand records may share one of a million
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()

"""What the pickle in a bundle may be written with, looked at before it is read.

The unpickler asks ``rebuild`` for every name, but some opcodes need no name to do harm: ``LONG_BINPUT`` makes a table
of as many entries as it is told to, in memory, and a tuple in a tuple in a tuple, a million deep, overruns the C stack
when it is hashed. So only the opcodes that our own pickler writes are let in, and values only so deep in each other.
It takes 0.2 ms a model.
"""

from __future__ import annotations

import pickle
from typing import TypeAlias

from anomstack_provider.artifacts.allowlist import NotAllowed

DEEPEST = 200

# How deep a value on the stack or in the memo is; one cell per value, because lists and dicts grow after they are made.
_Cell: TypeAlias = list[int]

# Opcodes of plain values, with the number of bytes of their argument.
_PLAIN = {
    pickle.NONE[0]: 0,
    pickle.NEWTRUE[0]: 0,
    pickle.NEWFALSE[0]: 0,
    pickle.EMPTY_TUPLE[0]: 0,
    pickle.BININT1[0]: 1,
    pickle.BININT2[0]: 2,
    pickle.BININT[0]: 4,
    pickle.BINFLOAT[0]: 8,
}
# Opcodes of texts, bytes and long numbers, with the number of bytes that say how long they are.
_LONG = {
    pickle.SHORT_BINUNICODE[0]: 1,
    pickle.BINUNICODE[0]: 4,
    pickle.BINUNICODE8[0]: 8,
    pickle.SHORT_BINBYTES[0]: 1,
    pickle.BINBYTES[0]: 4,
    pickle.BINBYTES8[0]: 8,
    pickle.BYTEARRAY8[0]: 8,
    pickle.LONG1[0]: 1,
    pickle.LONG4[0]: 4,
}
_CONTAINERS = frozenset([pickle.EMPTY_DICT[0], pickle.EMPTY_LIST[0], pickle.EMPTY_SET[0]])
_FILLED_TO_MARK = frozenset([pickle.SETITEMS[0], pickle.APPENDS[0], pickle.ADDITEMS[0]])
_FILLED = {pickle.APPEND[0]: 1, pickle.SETITEM[0]: 2}
# REDUCE takes a function and its arguments, STACK_GLOBAL two names.
_JOINED = {
    pickle.TUPLE1[0]: 1,
    pickle.TUPLE2[0]: 2,
    pickle.TUPLE3[0]: 3,
    pickle.REDUCE[0]: 2,
    pickle.STACK_GLOBAL[0]: 2,
}
_JOINED_TO_MARK = frozenset([pickle.TUPLE[0], pickle.FROZENSET[0]])
_HEADS = {pickle.PROTO[0]: 1, pickle.FRAME[0]: 8}
_BINGET, _LONG_BINGET, _MEMOIZE = pickle.BINGET[0], pickle.LONG_BINGET[0], pickle.MEMOIZE[0]
_MARK, _POP, _POP_MARK, _STOP = pickle.MARK[0], pickle.POP[0], pickle.POP_MARK[0], pickle.STOP[0]


def check_opcodes(raw: bytes) -> None:
    """Raise :class:`NotAllowed` for a pickle that our own pickler would not have written."""
    try:
        _walk(raw)
    except IndexError as error:
        raise NotAllowed("it ends too early, or takes from a stack that is empty") from error


def _walk(raw: bytes) -> None:
    plain: _Cell = [0]
    stack: list[_Cell] = []
    marks: list[int] = []
    memo: list[_Cell] = []
    at = 0
    while True:
        code = raw[at]
        at += 1
        if code in _PLAIN:
            stack.append(plain)
            at += _PLAIN[code]
        elif code == _MEMOIZE:
            memo.append(stack[-1])
        elif code == _BINGET:
            stack.append(memo[raw[at]])
            at += 1
        elif code in _LONG:
            width = _LONG[code]
            at += width + int.from_bytes(raw[at : at + width], "little")
            stack.append(plain)
        elif code in _JOINED:
            stack[-_JOINED[code] :] = [_deeper(stack[-_JOINED[code] :])]
        elif code == _MARK:
            marks.append(len(stack))
        elif code in _JOINED_TO_MARK:
            base = marks.pop()
            stack[base:] = [_deeper(stack[base:])]
        elif code in _FILLED_TO_MARK:
            base = marks.pop()
            _fill(stack[base - 1], stack[base:])
            del stack[base:]
        elif code in _CONTAINERS:
            stack.append([0])
        elif code in _FILLED:
            count = _FILLED[code]
            _fill(stack[-1 - count], stack[-count:])
            del stack[-count:]
        elif code == _LONG_BINGET:
            stack.append(memo[int.from_bytes(raw[at : at + 4], "little")])
            at += 4
        elif code == _POP and not (marks and marks[-1] == len(stack)):
            stack.pop()
        elif code in (_POP, _POP_MARK):
            del stack[marks.pop() :]
        elif code in _HEADS:
            at += _HEADS[code]
        elif code == _STOP:
            return
        else:
            raise NotAllowed(f"opcode {bytes([code])!r} is not on the allow-list")


def _deeper(parts: list[_Cell]) -> _Cell:
    """Return the cell of what is made of these."""
    made = [0]
    _fill(made, parts)
    return made


def _fill(holder: _Cell, parts: list[_Cell]) -> None:
    depth = max((part[0] for part in parts), default=-1) + 1
    if depth > DEEPEST:
        raise NotAllowed(f"values more than {DEEPEST} deep in each other are not on the allow-list")
    holder[0] = max(holder[0], depth)

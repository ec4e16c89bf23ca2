"""The text of an expression as a tree: the part of CEL (https://cel.dev, language definition read 2026-11-22)
that a rule over one event needs.

Left out on purpose: macros that loop (`all`, `exists`, `map`), `matches` (a pattern can take for ever),
bytes, unsigned numbers, messages and `null`: a fact that is not there is asked for with `has()`.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from lendsignal.errors import InputError

LONGEST = 2_000
"""Characters of an expression."""

LARGEST = 256
"""Nodes of its tree. Nothing loops, so it is also the most steps that an evaluation takes."""

DEEPEST = 32
"""Parentheses, calls and signs within one another."""


class Node(Struct, frozen=True):
    """One part of the tree.

    `op`: `literal`, `list`, `name`, `select`, `index`, `call`, `method`, `?:` or an operator.
    `at` is its place in the text, `value` the literal or the name.
    """

    op: str
    at: int
    parts: tuple["Node", ...] = ()
    value: str | int | float | bool | None = None


class Token(Struct, frozen=True):
    """One word of the text."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"(?P<space>(?:\s|//[^\n]*)+)"
    r"|(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<int>0x[0-9a-fA-F]+|\d+)"
    r"|(?P<string>[rR]?\"(?:\\.|[^\"\\\n])*\"|[rR]?'(?:\\.|[^'\\\n])*')"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]])",
    re.ASCII,
)

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?"}
_ESCAPES |= {"a": "\a", "b": "\b", "f": "\f", "v": "\v"}

RESERVED = frozenset(
    "null as break const continue else for function if import in let loop package namespace return var void "
    "while".split()
)
"""Words that no expression may use as a name."""

LEVELS = (("||",), ("&&",), ("<", "<=", ">", ">=", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
"""Operators, loosest first."""


def mistake(text: str, at: int, rule: str) -> InputError:
    """An error that says where in the expression: lines and columns count from 1."""
    line = text.count("\n", 0, at) + 1
    return InputError(f"line {line}, column {at - text.rfind(chr(10), 0, at)}", rule)


def parsed(text: str) -> Node:
    """The tree of an expression. Raises `InputError` with line and column."""
    if len(text) > LONGEST:
        raise mistake(text, LONGEST, f"an expression has at most {LONGEST} characters")
    parser = _Parser(text)
    tree = parser.expression()
    rest = parser.token
    if rest.kind != "end":
        raise mistake(text, rest.at, f"{rest.text!r} is not expected here")
    return tree


class _Parser:
    """One walk from left to right; `token` is what comes next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._deep = 0
        self._nodes = 0
        self.token = next(self._tokens)

    def expression(self) -> Node:
        self._deep += 1
        if self._deep > DEEPEST:
            raise mistake(self._text, self.token.at, f"more than {DEEPEST} levels within one another")
        tree = self._operators(0)
        if self._is("?"):
            at = self._taken().at
            then = self.expression()
            self._need(":")
            tree = self._node("?:", at, (tree, then, self.expression()))
        self._deep -= 1
        return tree

    def _operators(self, level: int) -> Node:
        if level == len(LEVELS):
            return self._signed()
        tree = self._operators(level + 1)
        while self.token.kind in ("sign", "name") and self.token.text in LEVELS[level]:
            token = self._taken()
            tree = self._node(token.text, token.at, (tree, self._operators(level + 1)))
        return tree

    def _signed(self) -> Node:
        if not self._is("!", "-"):
            return self._member()
        token = self._taken()
        if token.text == "-" and self.token.kind in ("int", "float"):
            return self._member(sign=-1)
        self._deep += 1
        if self._deep > DEEPEST:
            raise mistake(self._text, token.at, f"more than {DEEPEST} levels within one another")
        found = self._node(f"unary {token.text}", token.at, (self._signed(),))
        self._deep -= 1
        return found

    def _member(self, sign: int = 1) -> Node:
        tree = self._primary(sign)
        while self._is(".", "["):
            at = self._taken().at
            if self._text[at] == "[":
                tree = self._node("index", at, (tree, self.expression()))
                self._need("]")
                continue
            name = self._name()
            if self._is("("):
                self._taken()
                tree = self._node("method", name.at, (tree, *self._listed(")")), name.text)
            else:
                tree = self._node("select", name.at, (tree,), name.text)
        return tree

    def _primary(self, sign: int) -> Node:
        token = self._taken()
        match token.kind, token.text:
            case "int", _:
                number = sign * int(token.text, 0 if token.text.startswith("0x") else 10)
                if not -(2**63) <= number < 2**63:
                    raise mistake(self._text, token.at, "a whole number has at most 64 bits")
                return self._node("literal", token.at, value=number)
            case "float", _:
                return self._node("literal", token.at, value=sign * float(token.text))
            case "string", _:
                return self._node("literal", token.at, value=self._string(token))
            case "name", "true" | "false":
                return self._node("literal", token.at, value=token.text == "true")
            case "name", _ if token.text in RESERVED:
                hint = "; has(…) tells whether a fact is there" if token.text == "null" else ""
                raise mistake(self._text, token.at, f"{token.text} cannot stand here{hint}")
            case "name", _ if self._is("("):
                self._taken()
                return self._node("call", token.at, self._listed(")"), token.text)
            case "name", _:
                return self._node("name", token.at, value=token.text)
            case _, "(":
                tree = self.expression()
                self._need(")")
                return tree
            case _, "[":
                return self._node("list", token.at, self._listed("]"))
            case "end", _:
                raise mistake(self._text, token.at, "the expression ends too early")
            case _:
                raise mistake(self._text, token.at, f"{token.text!r} is not expected here")

    def _listed(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._is(end):
            found.append(self.expression())
            if not self._is(end):
                self._need(",")
        self._taken()
        return tuple(found)

    def _string(self, token: Token) -> str:
        if token.text[0] in "rR":
            return token.text[2:-1]

        def meant(found: re.Match[str]) -> str:
            if found[1] in _ESCAPES:
                return _ESCAPES[found[1]]
            if len(found[1]) == 5:
                return chr(int(found[1][1:], 16))
            raise mistake(self._text, token.at, f"\\{found[1]} is no escape that is known")

        return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", meant, token.text[1:-1])

    def _node(
        self, op: str, at: int, parts: tuple[Node, ...] = (), value: str | float | bool | None = None
    ) -> Node:
        self._nodes += 1
        if self._nodes > LARGEST:
            raise mistake(self._text, at, f"an expression has at most {LARGEST} parts")
        return Node(op, at, parts, value)

    def _is(self, *texts: str) -> bool:
        return self.token.kind == "sign" and self.token.text in texts

    def _taken(self) -> Token:
        token, self.token = self.token, next(self._tokens, self.token)
        return token

    def _need(self, text: str) -> None:
        if not self._is(text):
            shown = "the end" if self.token.kind == "end" else repr(self.token.text)
            raise mistake(self._text, self.token.at, f"{text!r} is expected, not {shown}")
        self._taken()

    def _name(self) -> Token:
        token = self._taken()
        if token.kind != "name":
            raise mistake(self._text, token.at, "a name is expected behind the point")
        return token


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise mistake(text, at, f"{text[at]!r} means nothing here")
        if found.lastgroup != "space":
            yield Token(found.lastgroup or "", found[0], at)
        at = found.end()
    yield Token("end", "", len(text))

r"""
# Shape comments are claims, and this executes them

    with check_shapes("papers/transformers/attention.py", B=2, T=5, C=12):
        attention(q, k, v)

A claim is a trailing comment that holds shapes and nothing else: `# (B, T, D/2)`, `# (B, T), ()`,
`# (..., C)`. It speaks of what its line has just made:

| the line | what is compared |
|---|---|
| `x = …`, `x: Tensor = …`, `x += …`, `self.x = …` | the target |
| `q, k = …  # (B, T)` | every target; with one shape for each target, each |
| `return …`, `yield …` | the value |
| `for x in …:`, `with … as x:` | the target, each time that the body is entered |
| `x.mul_(…)`, `self.register_buffer("x", …)` | `x`, `self.x` |
| `q: Tensor,  # (B, T)` in a signature | the argument, in each call |
| `) -> Tensor:  # (B, T)` closing a signature | the value of each return |

A size is what the caller gave, else an integer local or global of that name, else whatever it was
where the call first met it. So letters agree within a call, and the given ones in all calls. An
example that can't tell two sizes of a claim apart fails, and so does a claim that is never reached.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SIZE = re.compile(r"[A-Z]\w*")
LOOKS_LIKE_SHAPES = re.compile(r"\([A-Z\d\s,()+*/.]*\)")
LOOPS = (
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.For, ast.YieldFrom, ast.Await),
)
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Pow)
GENERATOR = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR

Shape = ast.Tuple


@dataclass
class Claim:
    """Shapes that a comment states, and where their values are found."""

    line: int
    shapes: list[Shape]
    targets: list[ast.expr]
    kind: str
    reached: int = 0
    told_apart: set[tuple[str, str]] = field(default_factory=set)

    def __str__(self) -> str:
        shown = ", ".join(ast.unparse(shape) for shape in self.shapes)
        return re.sub(r" ([-+*/]+) ", r"\1", shown)


@dataclass
class Claims:
    """All the claims of one file, and what was found wrong with them."""

    path: str
    by_statement: dict[int, Claim]
    arguments: dict[int, list[Claim]]
    returns: dict[int, Claim]
    statements: dict[int, ast.AST]
    problems: list[tuple[int, str]] = field(default_factory=list)

    def all(self) -> list[Claim]:
        claims = [*self.by_statement.values(), *self.returns.values()]
        for group in self.arguments.values():
            claims += group
        return sorted(claims, key=lambda claim: claim.line)

    def problem(self, line: int, message: str) -> None:
        if (line, message) not in self.problems:
            self.problems.append((line, message))

    def report(self) -> str:
        return "\n".join(
            f"{self.path}:{line}: {message}" for line, message in sorted(self.problems)
        )


@contextmanager
def check_shapes(where: ModuleType | str | Path, **sizes: int) -> Iterator[Claims]:
    """Compare each shape comment of a file with what the code inside the block makes there."""
    if len(set(sizes.values())) < len(sizes):
        raise ValueError(f"give distinct sizes, or a swap goes unnoticed: {sizes}")
    path = Path(str(where.__file__)) if isinstance(where, ModuleType) else ROOT / where
    claims = read_claims(path)
    if not claims.all():
        raise ValueError(f"{claims.path}: no shape comment to check")
    before = sys.gettrace()
    sys.settrace(Tracer(claims, str(path.resolve()), sizes))
    try:
        yield claims
    except BaseException as error:
        sys.settrace(before)
        # A wrong shape is often why the example broke: say both.
        if claims.problems:
            error.add_note(claims.report())
        raise
    finally:
        sys.settrace(before)
    for claim in claims.all():
        if not claim.reached:
            claims.problem(claim.line, f"claims {claim} but is never reached")
        elif not any(line == claim.line for line, _ in claims.problems):
            for first, second in ambiguous(claim):
                claims.problem(
                    claim.line,
                    f"claims {claim} but {first} and {second} were equal in every call: "
                    "run an example where they differ",
                )
    if claims.problems:
        raise AssertionError(claims.report())


def read_claims(path: Path) -> Claims:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    shown = path.resolve()
    name = str(shown.relative_to(ROOT)) if shown.is_relative_to(ROOT) else str(path)
    claims = Claims(name, {}, {}, {}, owners(tree))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or not token.line[: token.start[1]].strip():
            continue
        line, comment = token.start[0], token.string.lstrip("#").strip()
        try:
            shapes = parse_shapes(comment)
        except SyntaxError as error:
            claims.problem(line, f"{error.msg}: {comment}")
            continue
        if shapes:
            add_claim(claims, line, shapes)
    return claims


def parse_shapes(comment: str) -> list[Shape]:
    """The shapes that a comment states; none where it is some other comment."""
    if not (comment.startswith("(") and comment.endswith(")")):
        return []
    try:
        parsed = ast.parse(f"[{comment}]", mode="eval").body
    except SyntaxError:
        if LOOKS_LIKE_SHAPES.fullmatch(comment):
            raise SyntaxError("not a shape") from None
        return []
    assert isinstance(parsed, ast.List)
    if not all(is_size(node) for part in parsed.elts for node in getattr(part, "elts", [part])):
        return []
    if not all(isinstance(part, ast.Tuple) for part in parsed.elts):
        raise SyntaxError("a shape of one size is written (B,)")
    return [part for part in parsed.elts if isinstance(part, ast.Tuple)]


def is_size(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name):
            return SIZE.fullmatch(name) is not None
        case ast.Constant(value=value):
            return type(value) is int or value is ...
        case ast.BinOp(left=left, right=right, op=op) if isinstance(op, OPERATORS):
            return is_size(left) and is_size(right)
    return False


def owners(tree: ast.Module) -> dict[int, ast.AST]:
    """The innermost statement of each line; a header belongs to the statement that it opens."""
    found: dict[int, ast.AST] = {}
    for node in ast.walk(tree):  # breadth first, so that inner statements come later
        if isinstance(node, ast.stmt):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = node
    return found


def add_claim(claims: Claims, line: int, shapes: list[Shape]) -> None:
    owner = claims.statements[line]
    if isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef):
        spec = owner.args
        arguments = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
        names = [a.arg for a in arguments if a.end_lineno == line and a.arg not in ("self", "cls")]
        targets: list[ast.expr] = [ast.Name(name) for name in names]
        claim = Claim(line, shapes, targets, "argument" if names else "return")
        if names:
            claims.arguments.setdefault(first_line(owner), []).append(claim)
        else:
            claims.returns[first_line(owner)] = claim
    else:
        kind, targets = subject(owner)
        claim = Claim(line, shapes, targets, kind)
        if not kind:
            return claims.problem(line, f"claims {claim} at a line that makes no tensor")
        if id(owner) in claims.by_statement:
            return claims.problem(line, f"claims {claim} but its statement has a claim already")
        claims.by_statement[id(owner)] = claim
    if len(shapes) > 1 and len(targets) > 1 and len(shapes) != len(targets):
        claims.problem(line, f"claims {len(shapes)} shapes for {len(targets)} targets")


def first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Where Python says that a function's code begins: at its first decorator."""
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def subject(statement: ast.AST) -> tuple[str, list[ast.expr]]:
    """What a statement makes: a kind, and the expressions that hold it once it has run."""
    match statement:
        case ast.Assign(targets=targets):
            return "assign", flatten(targets[0])
        case ast.AnnAssign(target=target, value=ast.expr()) | ast.AugAssign(target=target):
            return "assign", [target]
        case ast.Return(value=ast.expr()):
            return "return", []
        case ast.Expr(value=ast.Yield()):
            return "yield", []
        case ast.For(target=target):
            return "header", flatten(target)
        case ast.With(items=items):
            found = [name for item in items for name in flatten(item.optional_vars)]
            return ("header" if found else ""), found
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=base, attr=method), args=args)):
            if method == "register_buffer" and args and isinstance(args[0], ast.Constant):
                return "assign", [ast.Attribute(base, str(args[0].value))]
            while isinstance(base, ast.Call) and isinstance(base.func, ast.Attribute):
                base = base.func.value
            return ("assign" if method.endswith("_") else ""), [base]
    return "", []


def flatten(target: ast.expr | None) -> list[ast.expr]:
    if target is None:
        return []
    if isinstance(target, ast.Tuple | ast.List):
        return [name for part in target.elts for name in flatten(part)]
    return [target.value if isinstance(target, ast.Starred) else target]


class Tracer:
    """Follows every call of the file's functions: each gets sizes of its own."""

    def __init__(self, claims: Claims, path: str, sizes: dict[str, int]) -> None:
        self.claims, self.path, self.sizes = claims, path, sizes
        self.ours: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code not in self.ours:
            # Comprehensions and lambdas are part of the statement that they stand in.
            whole = code.co_name == "<module>" or not code.co_name.startswith("<")
            self.ours[code] = whole and str(Path(code.co_filename).resolve()) == self.path
        if not self.ours[code]:
            return None
        if isinstance(frame.f_trace, Call):  # a generator goes on
            return frame.f_trace
        return Call(self.claims, frame, dict(self.sizes))


class Call:
    """One call: a claim is checked when the line after its statement begins, or at the return."""

    def __init__(self, claims: Claims, frame: FrameType, sizes: dict[str, int]) -> None:
        self.claims, self.given, self.met = claims, sizes, dict[str, int]()
        self.running: ast.AST | None = None
        self.leaving: ast.Return | None = None
        line = frame.f_code.co_firstlineno
        self.result = claims.returns.get(line)
        for claim in claims.arguments.get(line, []):
            self.check(claim, frame)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Call:
        if event == "line":
            statement = self.claims.statements.get(frame.f_lineno)
            if statement is not self.running:
                self.finish(frame, statement)
                self.running = statement
                if isinstance(statement, ast.Return):
                    self.leaving = statement  # `with` and `finally` may still run lines
        elif event == "exception":
            # A loop that runs out raises StopIteration and goes on; any other error ends the
            # statement, and what it was to make is not there.
            inside = ast.walk(self.running) if self.running else ()
            loops = any(isinstance(node, LOOPS) for node in inside)
            if not (loops and issubclass(arg[0], StopIteration)):
                self.running = self.leaving = None
        elif event == "return":
            self.value(frame, arg)
        return self

    def finish(self, frame: FrameType, following: ast.AST | None) -> None:
        claim = self.claims.by_statement.get(id(self.running))
        if claim is None or claim.kind in ("return", "yield"):
            return
        if claim.kind == "header" and following is not self.running.body[0]:  # type: ignore[union-attr]
            return
        self.check(claim, frame)

    def value(self, frame: FrameType, value: Any) -> None:
        claim = self.claims.by_statement.get(id(self.leaving or self.running))
        if claim and claim.kind in ("return", "yield"):
            self.compare(claim, flat(value), frame)
        elif claim and claim.kind == "assign" and not frame.f_code.co_flags & GENERATOR:
            self.check(claim, frame)
        if self.result and self.leaving:
            self.compare(self.result, flat(value), frame)

    def check(self, claim: Claim, frame: FrameType) -> None:
        values: list[Any] = []
        for target in claim.targets:
            expression = ast.Expression(target)
            ast.fix_missing_locations(as_load(expression))
            code = compile(expression, self.claims.path, "eval")
            values.append(eval(code, frame.f_globals, frame.f_locals))
        self.compare(claim, flat(*values), frame)

    def compare(self, claim: Claim, values: list[Any], frame: FrameType) -> None:
        claim.reached += 1
        shapes = claim.shapes * len(values) if len(claim.shapes) == 1 else claim.shapes
        if len(values) != len(shapes):
            self.claims.problem(claim.line, f"claims {claim} but got {len(values)} values")
            return
        names = [ast.unparse(target) for target in claim.targets]
        for index, (shape, value) in enumerate(zip(shapes, values, strict=True)):
            got = shape_of(value)
            if isinstance(got, str) or not self.agrees(shape, got, frame, claim):
                known = self.sizes(shape, frame, claim)
                used = ", ".join(f"{name} is {size}" for name, size in sorted(known.items()))
                where = f" where {used}" if used else ""
                what = f" for {names[index]}" if len(names) == len(values) > 1 else ""
                self.claims.problem(claim.line, f"claims {claim} but got {got}{what}{where}")
                return

    def sizes(self, shape: Shape, frame: FrameType, claim: Claim) -> dict[str, int]:
        """Given sizes rule, then the names in scope, then what this call has met."""
        names = {node.id for node in ast.walk(shape) if isinstance(node, ast.Name)}
        known = {name: self.met[name] for name in names & self.met.keys()}
        for scope in (frame.f_globals, frame.f_locals):
            known |= {name: scope[name] for name in names if type(scope.get(name)) is int}
        for name in names & self.given.keys():
            if known.get(name, self.given[name]) != self.given[name]:
                message = f"{name} is {known[name]} here but was given as {self.given[name]}"
                self.claims.problem(claim.line, message)
            known[name] = self.given[name]
        return known

    def agrees(self, shape: Shape, got: tuple[int, ...], frame: FrameType, claim: Claim) -> bool:
        sizes = list(shape.elts)
        dots = [
            i
            for i, size in enumerate(sizes)
            if isinstance(size, ast.Constant) and size.value is ...
        ]
        if dots:
            missing = len(got) - len(sizes) + 1
            if missing < 0:
                return False
            got = got[: dots[0]] + got[dots[0] + missing :]
            sizes.pop(dots[0])
        if len(sizes) != len(got):
            return False
        known = self.sizes(shape, frame, claim)
        pairs = list(zip(sizes, got, strict=True))
        # Bare letters first: they settle the expressions.
        for size, value in sorted(pairs, key=lambda pair: not isinstance(pair[0], ast.Name)):
            unknown = {n.id for n in ast.walk(size) if isinstance(n, ast.Name)} - known.keys()
            if len(unknown) == 1:
                name = unknown.pop()
                solved = solve(size, name, value, known)
                if solved is None:
                    return False
                known[name] = self.met[name] = solved
            elif unknown or evaluate(size, known) != value:
                return False
        for i, (first, a) in enumerate(pairs):
            for second, b in pairs[i + 1 :]:
                if a != b:
                    claim.told_apart.add((ast.unparse(first), ast.unparse(second)))
        return True


def flat(*values: Any) -> list[Any]:
    """A tuple or list stands for what it holds, so that `return k, v  # (B, T)` claims both."""
    found: list[Any] = []
    for value in values:
        found += flat(*value) if isinstance(value, tuple | list) else [value]
    return found


def as_load(tree: ast.Expression) -> ast.Expression:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            node.ctx = ast.Load()
    return tree


def shape_of(value: Any) -> tuple[int, ...] | str:
    if hasattr(value, "shape"):
        return tuple(int(size) for size in value.shape)
    return () if isinstance(value, int | float) else f"no tensor ({type(value).__name__})"


def evaluate(size: ast.expr, known: dict[str, int]) -> Fraction:
    """Exact, so that D/2 of an odd D is no size at all."""
    match size:
        case ast.Name(id=name):
            return Fraction(known[name])
        case ast.Constant(value=value):
            return Fraction(value)  # type: ignore[arg-type]
        case ast.BinOp(left=left, right=right, op=op):
            a, b = evaluate(left, known), evaluate(right, known)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return Fraction(a // b)
                case ast.Pow():
                    return Fraction(a**b)
            return a / b
    raise TypeError(ast.dump(size))


def solve(size: ast.expr, name: str, value: int, known: dict[str, int]) -> int | None:
    """The one size that a linear expression needs to have this value."""
    zero, one = (evaluate(size, {**known, name: at}) for at in (0, 1))
    if zero == one:
        return None
    found = (value - zero) / (one - zero)
    fits = found.denominator == 1 and evaluate(size, {**known, name: int(found)}) == value
    return int(found) if fits else None


def ambiguous(claim: Claim) -> list[tuple[str, str]]:
    """Pairs of sizes in one shape that no example ever told apart."""
    pairs: list[tuple[str, str]] = []
    for shape in claim.shapes:
        sizes: Sequence[str] = [
            ast.unparse(size) for size in shape.elts if ast.unparse(size) != "..."
        ]
        for i, first in enumerate(sizes):
            pairs += [(first, second) for second in sizes[i + 1 :] if first != second]
    return [pair for pair in pairs if pair not in claim.told_apart]

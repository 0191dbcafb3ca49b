"""The checker of shape comments is itself checked: what it must let pass, and what it must not."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from papers.tools.mutate.trial import Copy
from papers.tools.shapes import check_shapes
from papers.tools.shapes.__main__ import main, with_examples
from papers.tools.shapes.check import checked
from papers.tools.shapes.file import LIMIT, common, lines_of, rows_of, to_text
from papers.tools.shapes.read import ROOT
from papers.tools.shapes.record import target_of


def x25() -> torch.Tensor:
    return torch.zeros(2, 5)


def x27() -> torch.Tensor:
    return torch.zeros(2, 7)


Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(code: str) -> ModuleType:
        path = tmp_path / "paper.py"
        path.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(code).lstrip("\n"))
        spec = importlib.util.spec_from_file_location("paper", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def verdict(module: ModuleType, *calls: tuple[Any, ...], name: str = "f", **sizes: int) -> str:
    """What the checker says of these calls: nothing when it is content, else its lines."""
    try:
        with check_shapes(module, **sizes):
            for call in calls:
                getattr(module, name)(*call)
    except AssertionError as error:
        return str(error)
    return ""


GOOD = {
    "return": """
        def f(x):
            return x.T  # (T, B)
    """,
    "scalar": """
        def f(x):
            return x.sum()  # ()
    """,
    "float": """
        def f(x):
            y = float(x.sum())  # ()
            return y
    """,
    "several lines": """
        def f(x):
            y = torch.cat(
                [x, x],
                dim=1,
            )  # (B, 2*T)
    """,
    "first of several lines": """
        def f(x):
            y = torch.cat(  # (B, 2*T)
                [x, x],
                dim=1,
            )
    """,
    "tuple, a shape for each": """
        def f(x):
            a, b = x, x.T  # (B, T), (T, B)
            return a
    """,
    "tuple, one shape for all": """
        def f(x):
            a, (b, *c) = x, [x + 1, x, x]  # (B, T)
    """,
    "tuple that is returned": """
        def f(x):
            return x, x.T  # (B, T), (T, B)
    """,
    "tuple that is one name": """
        def f(x):
            y = x, x.T  # (B, T), (T, B)
            return y
    """,
    "augmented": """
        def f(x):
            y = x
            y = y + 1
            y *= 2  # (B, T)
    """,
    "annotated": """
        def f(x):
            y: object = x  # (B, T)
    """,
    "in place": """
        def f(x):
            x.mul_(2).add_(1)  # (B, T)
    """,
    "item": """
        def f(x):
            y = {}
            y["k"] = x  # (B, T)
    """,
    "dots": """
        def f(x):
            y = x[None, None]  # (..., B, T)
            return x  # (..., T)
    """,
    "argument": """
        def f(
            x,  # (B, T)
            y=None,
        ):
            return x
    """,
    "result": """
        def f(
            x,
        ):  # (B, T)
            if x.sum() > 0:
                return None
            return x
    """,
    "decorated": """
        @torch.no_grad()
        def f(x):  # (B, T)
            y = x.T  # (T, B)
    """,
    "loop": """
        def f(x):
            for y in x:  # (T,)
                y = y.sum()  # ()
    """,
    "loop, last line": """
        def f(x):
            for _ in range(3):
                x = x + 1  # (B, T)
    """,
    "with": """
        import contextlib
        def f(x):
            with contextlib.nullcontext(x) as y:  # (B, T)
                y = None
    """,
    "return inside with": """
        def f(x):
            with torch.no_grad():
                return x  # (B, T)
    """,
    "return, then finally": """
        def f(x):
            try:
                return x  # (B, T)
            finally:
                x = 0
    """,
    "comprehension": """
        def f(x):
            y = torch.stack([row * 2 for row in x])  # (B, T)
            return y
    """,
    "comprehension over a generator": """
        def f(x):
            y = torch.stack([row for row in (r for r in x)])  # (B, T)
            return y
    """,
    "comprehension over several lines": """
        def f(x):
            y = torch.stack(
                [
                    row
                    for row in x
                ]
            )  # (B, T)
            return y
    """,
    "generator": """
        def g(x):
            for row in x:
                y = row * 2  # (T,)
                yield y  # (T,)

        def f(x):
            return [row for row in g(x)]
    """,
    "a local size rules": """
        def f(x):
            N, M = x.shape
            return x  # (N, M)
    """,
    "a local size that changes": """
        def f(x):
            N, M = x.shape
            y = x  # (N, M)
            M = M - 1
            y = x[:, 1:]  # (N, M)
            return y
    """,
    "an expression settles a letter": """
        def f(x):
            y = torch.cat([x, x], 1)  # (B, 2*N)
            return x  # (B, N)
    """,
    "another comment": """
        def f(x):
            y = x  # (see above)
            y = x  # T
            return y  # (B, T)
    """,
}


@pytest.mark.parametrize("code", GOOD.values(), ids=GOOD.keys())
def test_true_claims_pass(load: Load, code: str) -> None:
    assert verdict(load(code), (x25(),), B=2, T=5) == ""


@pytest.mark.parametrize("code", GOOD.values(), ids=GOOD.keys())
def test_each_form_is_really_compared(load: Load, code: str) -> None:
    """The same code with one more dimension in each claim fails at every one of its lines."""
    broken = re.sub(r"(#.*)\)$", r"\1, 1)", code, flags=re.MULTILINE)
    broken = broken.replace(",, 1)", ", 1)").replace("(, 1)", "(1,)").replace("above, 1)", "above)")
    module = load(broken)
    lines = Path(str(module.__file__)).read_text().splitlines()
    false = [
        number
        for number, line in enumerate(lines, 1)
        if "# (" in line and "1" in line[line.index("# (") :]
    ]
    said = verdict(module, (x25(),), B=2, T=5).splitlines()
    assert [int(line.split(":")[1]) for line in said] == false
    assert all("but got" in line for line in said)


def test_a_wrong_shape_is_one_line_that_points(load: Load) -> None:
    module = load("def f(x):\n    y = x + 1  # (B, T)\n    return y")
    said = verdict(module, (x27(),), B=2, T=5)
    assert said == f"{module.__file__}:4: claims (B, T) but got (2, 7) where B is 2, T is 5"


def test_the_target_that_is_wrong_is_named(load: Load) -> None:
    module = load("def f(x):\n    q, k = x, x.T  # (B, T)\n    return q")
    assert "claims (B, T) but got (5, 2) for k where" in verdict(module, (x25(),), B=2, T=5)


@pytest.mark.parametrize("claim", ["(T, B)", "(B, T, 1)", "(B,)", "()", "(B, T), (B, T)", "(B, 7)"])
def test_other_shapes_fail(load: Load, claim: str) -> None:
    assert "claims" in verdict(load(f"def f(x):\n    return x  # {claim}"), (x25(),), B=2, T=5)


def test_letters_agree_within_a_call_and_not_across_calls(load: Load) -> None:
    module = load("def f(x, y):\n    x = x + 0  # (N, M)\n    return y  # (N, M)")
    assert verdict(module, (x25(), x25()), (x27(), x27())) == ""
    assert "claims (N, M) but got (2, 7) where M is 5, N is 2" in verdict(module, (x25(), x27()))


def test_calls_inside_calls_have_sizes_of_their_own(load: Load) -> None:
    module = load("""
        def g(x):
            return x[:, 1:]  # (N, M)

        def f(x):
            y = x + 0  # (N, M)
            z = g(x)  # (N, M-1)
            return y + 0  # (N, M)
    """)
    assert verdict(module, (x25(),)) == ""


@pytest.mark.parametrize(
    ("claim", "good"),
    [
        ("(B, D/2)", True),
        ("(B, 3*D)", False),
        ("(B, D-3)", True),
        ("(B, D//2)", True),
        ("(B, (D+2)/2)", False),
        ("(B, D/4)", False),
    ],
)
def test_expressions(load: Load, claim: str, good: bool) -> None:
    said = verdict(load(f"def f(x):\n    return x  # {claim}"), (torch.zeros(2, 3),), B=2, D=6)
    assert (said == "") is good


def test_half_of_an_odd_size_is_no_size(load: Load) -> None:
    code = "def f(x):\n    return x[:, : x.shape[1] // 2]  # (B, D/2)"
    assert "claims (B, D/2) but got (2, 3)" in verdict(load(code), (x27(),), B=2, D=7)


def test_a_claim_that_is_never_reached_fails(load: Load) -> None:
    module = load("""
        def f(x):
            if x.sum() > 0:
                x = x.T  # (T, B)
            return x  # (B, T)
    """)
    assert (
        verdict(module, (x25(),), B=2, T=5)
        == f"{module.__file__}:5: claims (T, B) but is never reached"
    )


def test_a_given_size_binds_the_names_in_scope(load: Load) -> None:
    module = load("def f(x):\n    T, B = x.shape\n    return x  # (T, B)")
    assert "T is 2 here but was given as 5" in verdict(module, (x25(),), T=5)


def test_modules_are_called(load: Load) -> None:
    module = load("""
        class Part(nn.Module):
            def __init__(self, C):
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(C, 3 * C))  # (C, 3*C)
                self.register_buffer("scale", torch.ones(C))  # (C,)

            def forward(self, x):  # (B, C)
                y = self.linear(x)  # (B, 3*C)
                self.last = y[:, 1:]  # (B, 3*C-1)
                return y.sum(-1)  # (B,)

            def linear(self, x):
                return x @ self.weight  # (B, 3*C)

        def f(x):
            return Part(5)(x)
    """)
    assert verdict(module, (x25(),), B=2, C=5) == ""
    said = verdict(module, (torch.zeros(3, 5),), B=2, C=5)
    assert "11: claims (B, 3*C-1) but got (3, 14) where B is 2, C is 5" in said


def test_an_error_in_the_middle_keeps_its_own_message_and_adds_the_claims(load: Load) -> None:
    module = load("def f(x):\n    y = x.T  # (B, T)\n    z = y @ y  # (B, B)\n    return z")
    before = sys.gettrace()
    with (
        pytest.raises(RuntimeError, match="cannot be multiplied") as caught,
        check_shapes(module, B=2, T=5),
    ):
        module.f(x25())
    assert caught.value.__notes__ == [
        f"{module.__file__}:4: claims (B, T) but got (5, 2) where B is 2, T is 5"
    ]
    assert sys.gettrace() is before


def test_what_a_raising_call_did_not_make_is_not_compared(load: Load) -> None:
    module = load("""
        def half(x):
            if x.shape[1] == 7:
                raise KeyError("seven")
            return x  # (B, T)

        def f(x):
            y = torch.zeros(9)
            try:
                y = half(x)  # (B, T)
            except KeyError:
                pass
            return y
    """)
    assert verdict(module, (x27(),), (x25(),), B=2, T=5) == ""


def test_sizes_that_no_example_tells_apart_fail(load: Load) -> None:
    module = load("def f(x):\n    return x  # (M, N)")
    square = torch.zeros(5, 5)
    assert "M and N were equal in every call" in verdict(module, (square,))
    assert verdict(module, (square,), (x25(),)) == ""


def test_given_sizes_are_distinct(load: Load) -> None:
    module = load("def f(x):\n    return x  # (M, N)")
    with pytest.raises(ValueError, match="distinct"), check_shapes(module, M=5, N=5):
        pass


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("y = x  # (B)", "a shape of one size is written (B,): (B)"),
        ("y = x  # (B, T H)", "not a shape: (B, T H)"),
        ("print(x)  # (B, T)", "claims (B, T) at a line that makes no tensor"),
        ("pass  # (B, T)", "claims (B, T) at a line that makes no tensor"),
        ("a, b = x  # (T,), (T,), (T,)", "claims 3 shapes for 2 targets"),
        ("y = 'x'  # (B, T)", "claims (B, T) but got no tensor (str)"),
    ],
)
def test_a_claim_that_says_nothing_fails(load: Load, line: str, said: str) -> None:
    module = load(f"def f(x):\n    {line}\n    return x  # (B, T)")
    assert f":4: {said}" in verdict(module, (x25(),), B=2, T=5)


def test_a_file_without_claims_is_no_evidence(load: Load) -> None:
    with pytest.raises(ValueError, match="no shape comment"), check_shapes(load("x = 1  # (see)")):
        pass


def made(module: ModuleType, *calls: Callable[[], object], **sizes: int) -> dict[str, Any]:
    """What is on record of each line, by its text."""
    with check_shapes(module, **sizes):
        for call in calls:
            call()
    path = Path(str(module.__file__))
    numbers, lines = lines_of(path).numbers, path.read_text().splitlines()
    rows = rows_of(path, checked[-1])
    return {lines[numbers[row["line"] - 1] - 1].strip(): row["made"] for row in rows}


def test_every_line_is_recorded_with_its_letters(load: Load) -> None:
    module = load("""
        class Part(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.up = nn.Linear(width, 3 * width)

            def forward(self, x, cut):
                wide = self.up(x)  # (B, 3*C)
                a, b = wide.split([cut, wide.shape[1] - cut], 1)
                shifted = [a + 1, b - 1]
                c = a + 0
                for n in range(2):
                    c[:, 0] = n
                return b, wide

        def f(x):
            return Part(x.shape[1])(x, 4)
    """)
    rows = made(module, lambda: module.f(torch.ones(2, 5)), B=2, C=5)
    assert rows["self.up = nn.Linear(width, 3 * width)"] == [
        {"name": "self.up", "dtype": "Linear", "parameters": 90}
    ]
    named = {
        (line, each["name"]): each.get("shape") for line, mades in rows.items() for each in mades
    }
    assert named["def forward(self, x, cut):", "x"] == "(B, C)"
    assert named["wide = self.up(x)  # (B, 3*C)", "wide"] == "(B, 3*C)"
    split = "a, b = wide.split([cut, wide.shape[1] - cut], 1)"
    assert (named[split, "a"], named[split, "b"]) == ("(B, 4)", "(B, 11)")
    assert named["shifted = [a + 1, b - 1]", "shifted[1]"] == "(B, 11)"
    assert named["c[:, 0] = n", "c"] == "(B, 4)"
    assert named["return b, wide", "return b"] == "(B, 11)"
    assert named["return b, wide", "return wide"] == "(B, 3*C)"
    assert {"name": "n", "dtype": "int", "shape": "()", "sizes": [], "values": "0"} in rows[
        "for n in range(2):"
    ]


def test_a_letter_must_fit_in_every_call_and_alone(load: Load) -> None:
    module = load("""
        def f(x):
            T = x.shape[1]
            y = x.new_zeros(2, 7)
            z = x.new_zeros(x.shape[1], 6)
            return x  # (B, T)
    """)
    calls = [lambda x=x: module.f(x) for x in (torch.ones(3, 7), torch.ones(6, 5))]
    rows = made(module, *calls)
    # 7 is what T was once, and is written there; 6 is what B was once.
    assert rows["y = x.new_zeros(2, 7)"][0]["shape"] == "(2, 7)"
    assert rows["z = x.new_zeros(x.shape[1], 6)"][0]["shape"] == "(T, 6)"


def test_what_a_comment_said_of_a_tensor_goes_with_it(load: Load) -> None:
    module = load("""
        def g(turned):
            return turned + 0

        def f(x):
            G = 3
            half = x[:, ::2]  # (B, T/2)
            return g(half)
    """)
    rows = made(module, lambda: module.f(torch.ones(2, 6)))
    # By its size alone it could be G.
    assert rows["def g(turned):"][0]["shape"] == "(B, T/2)"


def test_the_call_that_tells_sizes_apart_is_shown(load: Load) -> None:
    module = load("""
        def f(x):
            y = x + 1  # (B, T)
            return y
    """)
    shapes = (1, 4), (4, 4), (2, 7), (2, 5), (5, 2)
    calls = [lambda shape=shape: module.f(torch.ones(shape)) for shape in shapes]
    rows = made(module, *calls)
    assert rows["y = x + 1  # (B, T)"][0]["sizes"] == [2, 5]
    assert rows["return y"][0]["sizes"] == [2, 5]


def test_numbers_are_few_and_short(load: Load) -> None:
    module = load("""
        def f(x):
            wide = x.repeat(1, 9)  # (B, 9*T)
            thirds, cut = -x[0] / 3, x.log()[0, :2]
            flags = x > 1
            return float(x.sum())
    """)
    rows = made(module, lambda: module.f(torch.tensor([[1.0, 0, 3, 4]] * 2)))
    assert "values" not in rows["wide = x.repeat(1, 9)  # (B, 9*T)"][0]
    thirds, cut = rows["thirds, cut = -x[0] / 3, x.log()[0, :2]"]
    assert thirds["values"] == "-0.3333 0 -1 -1.333"
    assert cut["values"] == "0 -inf"
    assert rows["flags = x > 1"][0]["values"] == "0 0 1 1 0 0 1 1"
    assert rows["return float(x.sum())"][0] == {
        "name": "return", "dtype": "float", "shape": "()", "sizes": [], "values": "16",
    }  # fmt: skip


def test_a_tensor_that_stands_for_many_has_no_numbers(load: Load) -> None:
    code = """
        from torch.func import vmap
        def f(x):
            return vmap(one)(x)
        def one(x):
            y = 2 * x  # (C,)
            return y
        """
    module = load(code)
    assert verdict(module, (x25(),)) == ""
    with check_shapes(module) as claims:
        module.f(x25())
    assert [claim.reached for claim in claims.all()] == [True]


def test_looking_does_nothing(load: Load) -> None:
    module = load("""
        def f(x):
            places = iter([1, 0, 2])
            x[next(places)] = 5
            x[next(places)] = 6
            return x  # (T,)
    """)
    rows = made(module, lambda: module.f(torch.zeros(3)))
    assert rows["return x  # (T,)"][0]["values"] == "6 5 0"


def test_what_two_runs_do_not_agree_on_is_left_out() -> None:
    def row(line: int, *mades: dict[str, Any]) -> dict[str, Any]:
        return {"line": line, "made": list(mades)}

    x = {"name": "x", "dtype": "float32", "shape": "(T,)", "sizes": [2], "values": "1 2"}
    once = [row(1, x, {"name": "t", "dtype": "float", "shape": "()", "sizes": [], "values": "3"})]
    other = {"name": "t", "dtype": "float", "shape": "()", "sizes": [], "values": "4"}
    assert common(once, [row(1, x | {"values": "1.00001 2"}, other)]) == [row(1, x)]
    without = {key: value for key, value in x.items() if key != "values"}
    assert common(once, [row(1, x | {"values": "1 3"})]) == [row(1, without)]
    assert common(once, [row(1, x | {"sizes": [3]})]) == []
    assert common(once, [row(2, x)]) == []


RECORDED = """
    def f(x):
        y = x * 2  # (B, T)
        return y
"""


def record_of(module: ModuleType, change: Callable[[str], str] = str) -> None:
    with check_shapes(module, B=2, T=5):
        module.f(torch.ones(2, 5))
    path = Path(str(module.__file__))
    data = {"code": lines_of(path).fingerprint, "lines": rows_of(path, checked[-1])}
    target = path.parent / "records" / "paper.shapes.json"
    target.parent.mkdir()
    target.write_text(change(to_text(data)))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"(B, T)"', '"(T, B)"', "has y as (T, B) and it is (B, T)"),
        ("[2, 5]", "[2, 6]", "has y as [2, 6] and it is [2, 5]"),
        ("float32", "float64", "has y as float64 and it is float32"),
        ('"2 2', '"2.1 2', "has y as 2.1 2 2 2 2 2 2 2 2 2 and it is 2 2 2 2"),
        ('"name": "y"', '"name": "w"', "has w and the example does not make it"),
    ],
)
def test_the_shape_test_notices_a_record_that_is_wrong(
    load: Load, before: str, after: str, said: str
) -> None:
    module = load(RECORDED)

    def change(text: str) -> str:
        lines = text.splitlines()
        at = next(at for at, line in enumerate(lines) if '"name": "y"' in line)
        lines[at] = lines[at].replace(before, after)
        return "\n".join(lines)

    record_of(module, change)
    with pytest.raises(AssertionError) as caught, check_shapes(module, B=2, T=5):
        module.f(torch.ones(2, 5))
    assert str(caught.value).startswith(f"{module.__file__}:4: paper.shapes.json {said}")
    assert "\n" not in str(caught.value)
    assert "record it again: python -m papers.tools.shapes" in str(caught.value)


def test_another_processor_may_round_otherwise_and_other_code_is_another_matter(load: Load) -> None:
    module = load(RECORDED)
    record_of(module, lambda text: text.replace('"2 2', '"2.001 2'))
    with check_shapes(module, B=2, T=5):
        module.f(torch.ones(2, 5))
    target = Path(str(module.__file__)).parent / "records" / "paper.shapes.json"
    stale = json.loads(target.read_text()) | {"code": "of another file", "lines": [{"line": 1}]}
    target.write_text(json.dumps(stale))
    with check_shapes(module, B=2, T=5):
        module.f(torch.ones(2, 5))


PAPERS = with_examples()


def test_every_paper_with_shapes_has_them_on_record() -> None:
    """Whether what stands there is right, the papers' own shape tests say."""
    assert len(PAPERS) >= 20
    assert main(["--check"]) == 0


def test_records_are_small_and_say_shapes_where_the_comments_do() -> None:
    for path in PAPERS:
        text = target_of(ROOT / path).read_text()
        assert len(text.encode()) <= LIMIT
        lines, numbers = (ROOT / path).read_text().splitlines(), lines_of(ROOT / path).numbers
        for row in json.loads(text)["lines"]:
            line = lines[numbers[row.get("last", row["line"]) - 1] - 1]
            stated = re.search(r"# (\([A-Z][\w\s,*/+-]*\))$", line)
            shapes = {made["shape"] for made in row["made"] if made.get("sizes")}
            if stated and not line.strip().startswith("def "):
                assert shapes <= {stated[1]}, f"{path}: {line}"


@pytest.mark.slow
def test_the_command_records_and_a_wrong_comment_is_one_line_that_points(tmp_path: Path) -> None:
    name = "papers/training/from_paper_to_code.py"
    copy = Copy(tmp_path)
    record = target_of(tmp_path / name)
    before = record.read_text()

    def shapes(*given: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "papers.tools.shapes", *given, name]
        where = {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | where, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    assert shapes("--check") == (0, "", "")
    assert shapes() == (0, f"{record.relative_to(tmp_path)}\n", "")
    ours, theirs = (json.loads(text) for text in (before, record.read_text()))
    assert common(ours["lines"], theirs["lines"]) == ours["lines"]
    assert ours["code"] == theirs["code"]

    lines = (tmp_path / name).read_text().splitlines()
    number = next(at for at, line in enumerate(lines, 1) if line.endswith("# (B, K)"))
    lines[number - 1] = lines[number - 1].replace("(B, K)", "(K, B)")
    copy.write(Path(name), "\n".join(lines) + "\n")
    told = f"{name}:1: its shapes are not on record as they are now; record them again\n"
    assert shapes("--check") == (1, told, "")
    status, out, err = shapes()
    assert (status, out) == (1, "")
    assert err.startswith(f"{name}:{number}: claims (K, B) but got")
    assert err.count("\n") == 1
    assert json.loads(record.read_text()) == theirs


def test_a_file_without_an_example_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in [
        ("papers/training/__init__.py", "no test runs an example of it"),
        ("papers/none.py", "give a paper's file"),
        ("tests/conftest.py", "give a paper's file"),
    ]:
        assert main([str(ROOT / given)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert f"{given}: {said}" in err

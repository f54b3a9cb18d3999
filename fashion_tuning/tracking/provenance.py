"""Where a study's numbers come from: code, libraries and machine; read-only."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from fashion_tuning.backend import choose_backend

LIBRARIES = ("keras", "keras-tuner", "mlflow", "numpy", "pillow", "scikit-learn", "scipy")


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that compute, of Keras's backends the one in use."""
    found = {"fashion-tuning": metadata.version("fashion-tuning"), "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in (choose_backend(), *LIBRARIES)}


def environment_lock() -> str:
    """Every installed distribution as name==version lines, sorted."""
    lines = {f"{found.name.lower()}=={found.version}" for found in metadata.distributions() if found.name}
    return "\n".join(sorted(lines)) + "\n"


def machine() -> dict[str, str]:
    """Processor, cores and memory of this machine."""
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor_name(),
        "cores": str(os.cpu_count()),
        "memory_gib": f"{psutil.virtual_memory().total / 2**30:.1f}",
    }


def source_commit() -> str:
    """Commit of the checkout this package runs from, with "+changes" if files differ; "" outside of one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return ""
    return commit + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

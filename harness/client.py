"""The stock ZenML client in its own environment and home, as a data scientist has it."""

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

from harness.platform import ROOT

CLIENTS = Path(os.environ.get("NAGAYA_CLIENTS_DIR", str(ROOT / ".clients")))


class StockClient:
    """One installation of the released `zenml` package with a home of its own.

    Args:
        home: Home directory; created.
        version: Released version; its environment lies below `NAGAYA_CLIENTS_DIR`.
        environment: Further environment variables.
    """

    def __init__(self, home: Path, version: str = "0.98.0", environment: dict[str, str] | None = None) -> None:
        self.bin = CLIENTS / version / "bin"
        self.home = home
        self.work = home / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.opened = home / "opened-urls"
        browser = home / "browser"
        # The client opens the approval page with Python's `webbrowser`, which runs what BROWSER names.
        browser.write_text(f'#!/bin/sh\necho "$1" >> "{self.opened}"\n')
        browser.chmod(0o755)
        self.environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "BROWSER": f"{browser} %s",
            "ZENML_CONFIG_PATH": str(home / "config"),
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_ENABLE_RICH_TRACEBACK": "false",
            "AUTO_OPEN_DASHBOARD": "false",
            "COLUMNS": "200",
            **(environment or {}),
        }

    def run(self, *arguments: str, timeout: float = 240, check: bool = True) -> str:
        """Runs a command of the environment (`zenml …`, `python …`) and returns its whole output.

        Args:
            arguments: Words of the command line.
            timeout: Seconds.
            check: Whether a failure raises.
        """
        result = subprocess.run(
            [str(self.bin / arguments[0]), *arguments[1:]],
            env=self.environment,
            cwd=self.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {result.returncode}\n{result.stdout}")
        return result.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command of the environment without waiting for it."""
        return subprocess.Popen(
            [str(self.bin / arguments[0]), *arguments[1:]],
            env=self.environment,
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def on_a_terminal(self, *arguments: str, answer: str, deadline: float = 120) -> str:
        """Runs a command on a pseudo-terminal, types `answer` at its first prompt, and returns what was shown.

        Args:
            arguments: Words of the command line.
            answer: What to type, without the line's end.
            deadline: Seconds after which the command is killed.
        """
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.work)
            os.execve(self.bin / arguments[0], list(arguments), self.environment)
        shown, typed, end = b"", False, time.monotonic() + deadline
        try:
            while time.monotonic() < end:
                if not select.select([terminal], [], [], 0.5)[0]:
                    if not typed and shown.rstrip().endswith(b":"):
                        os.write(terminal, answer.encode() + b"\n")
                        typed = True
                    continue
                try:
                    block = os.read(terminal, 65_536)
                except OSError:  # What Linux answers once the other side has closed.
                    break
                if not block:
                    break
                shown += block
        finally:
            os.close(terminal)
            if os.waitpid(child, os.WNOHANG)[0] == 0:
                time.sleep(0.5)
                if os.waitpid(child, os.WNOHANG)[0] == 0:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
        return shown.decode(errors="replace")

    def opened_url(self, deadline: float = 60) -> str:
        """Waits for the URL that the client opened in the browser and returns the newest."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            if self.opened.exists() and (lines := self.opened.read_text().split()):
                return lines[-1]
            time.sleep(0.05)
        raise TimeoutError("the client opened no page")

    def write(self, name: str, text: str) -> Path:
        """Writes a file into the working directory."""
        path = self.work / name
        path.write_text(text)
        return path


PIPELINE = '''
"""A three-step scikit-learn pipeline with a Model."""
import sys
from typing import Annotated

import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from zenml import ArtifactConfig, Model, log_metadata, pipeline, step


@step
def load() -> tuple[Annotated[np.ndarray, "features"], Annotated[np.ndarray, "labels"]]:
    data = load_iris()
    return data.data, data.target


@step
def train(features: np.ndarray, labels: np.ndarray, trees: int = 20) -> Annotated[
    RandomForestClassifier, ArtifactConfig(name="forest")
]:
    return RandomForestClassifier(n_estimators=trees, random_state=1).fit(features, labels)


@step
def evaluate(model: RandomForestClassifier, features: np.ndarray, labels: np.ndarray) -> Annotated[float, "accuracy"]:
    accuracy = float(model.score(features, labels))
    log_metadata(metadata={"accuracy": accuracy}, infer_model=True)
    return accuracy


@pipeline(model=Model(name="iris", tags=["flowers"]), enable_cache=False)
def training(trees: int = 20) -> None:
    features, labels = load()
    evaluate(train(features, labels, trees=trees), features, labels)


if __name__ == "__main__":
    run = training(trees=int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print("RUN", run.id, run.status)
'''

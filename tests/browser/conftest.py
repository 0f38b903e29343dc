"""A real browser, and JupyterLab on the loopback address: what readers see is looked at where they see it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from waiting import PATIENCE, wait_for

from browser.rendered import render_again

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"
FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
TOKEN = "a-token-for-the-tests"


@dataclass
class Watched:
    """A page of the browser and what went on in it."""

    page: object
    dialogs: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    problems: list = field(default_factory=list)

    def __post_init__(self):
        self.page.on("dialog", lambda d: (self.dialogs.append(d.message), d.dismiss()))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)

    def strangers(self) -> list[str]:
        """Return the requests that were not for a file, inline data or this machine."""
        own = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:", "ws://127.0.0.1:")
        return [url for url in self.requests if not url.startswith(own)]


@pytest.fixture(scope="module")
def chromium():
    """The system's Chromium, driven by Playwright; skipped where there is none.

    For one module only: while Playwright is on, its event loop runs in this thread, and what waits for a kernel in
    the tests that follow would share it.
    """
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this system")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS.split(), "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture
def watched(chromium):
    """Return a function that opens a fresh, watched page: ``watched(width=1280, scheme="light")``."""
    contexts = []

    def opened(width: int = 1280, scheme: str = "light", scripts: bool = True) -> Watched:
        size = {"width": width, "height": 900}
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme, java_script_enabled=scripts))
        contexts[-1].set_default_timeout(PATIENCE * 1000)
        return Watched(contexts[-1].new_page())

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """The committed report, its pages rendered anew; nobody writes there."""
    return render_again(EXAMPLE, tmp_path_factory.mktemp("pages") / "example")


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it is and the folder it serves."""

    url: str
    folder: Path
    environment: dict
    token: str = TOKEN

    def trust(self, notebook: Path) -> None:
        """Sign a notebook, so that JupyterLab shows its outputs without cleaning them."""
        command = [sys.executable, "-m", "jupyter", "trust", str(notebook)]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)

    def address(self, notebook: str) -> str:
        return f"{self.url}/lab/tree/{notebook}?token={self.token}&reset"


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory):
    """JupyterLab with settings, trust and a served folder of its own, on the loopback address only."""
    home = tmp_path_factory.mktemp("jupyter")
    served = home / "served"
    served.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR")
    environment = os.environ | {n: str(home / n.lower()) for n in (*names, "JUPYTERLAB_WORKSPACES_DIR")}
    overrides = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    settings = home / "overrides"
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(overrides), encoding="utf-8")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={served}", f"--LabApp.app_settings_dir={settings}"]
    with open(home / "log", "w") as log:
        server = subprocess.Popen(command, env=environment, cwd=served, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/api?token={TOKEN}", server, home / "log")
        yield Lab(f"http://127.0.0.1:{port}", served, environment)
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _wait_until_up(url: str, server, log: Path) -> None:
    def answers() -> bool:
        assert server.poll() is None, f"JupyterLab did not start: {log.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                return True
        except OSError:
            return False

    wait_for(answers, "JupyterLab answers")

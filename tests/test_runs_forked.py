"""Forked notebooks: the outputs of a kernel to the byte, nothing passed on, an end that is known at once."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import threading
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest
from jupyter_client.manager import AsyncKernelManager
from tiny import tree, write_answer, write_notebook, write_study
from waiting import PATIENCE, descendants, running, wait_for

from cxresearch.runs.execution import how_ended
from cxresearch.runs.make import Pool, make_run, plan_run
from cxresearch.runs.warm import NAME, SERVERS, Fork, may_fork

# What differs between two runs anywhere, by time or by a random name, is not asked for.
CASES = {
    "magics": [
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nprint('x')",
        "%%capture out\nprint('hidden')",
        "out.stdout",
        "!echo hello",
        "words = !echo a b\nwords",
        "%%bash\necho from bash",
        "%env WORD=1",
        "%precision 3",
        "3.14159",
        "%%writefile x.txt\nhi",
        "len?",
        "input('?')",
    ],
    "awaits": [
        "import asyncio\nawait asyncio.sleep(0.01)\nprint('slept')",
        "task = asyncio.create_task(asyncio.sleep(0.05, 'done'))\nasyncio.get_running_loop().is_running()",
        "await task",
        "asyncio.run(asyncio.sleep(0))",
    ],
    "displays": [
        "from IPython.display import HTML, clear_output, display, update_display\n"
        "h = display('a', display_id='x')\nprint('one')\ndisplay(HTML('<b>b</b>'))\nprint('two')",
        "update_display('changed', display_id='x')",
        "print('gone'); clear_output(); print('kept')",
        "print('gone'); clear_output(wait=True); print('kept')",
        "print('a\\rb')\nprint('abc\\b\\bx')\nprint('żółć \\udc80')",
        "import sys, warnings\nprint('out')\nwarnings.warn('careful')\nprint('more')",
        "import logging\nlogging.warning('logged')",
        "1;",
        "Out[12] if 12 in Out else In[1]",
        "class A:\n    def _repr_html_(self): raise ValueError('bad')\nA.__repr__ = lambda self: 'A()'\nA()",
        "1",
    ],
    "draws": [
        "import matplotlib, matplotlib.pyplot as plt\nfig, ax = plt.subplots(2)\nprint('text')\nax[0]",
        "plt.plot([1]); plt.show(); plt.plot([2]); 5",
        "matplotlib.get_backend(), matplotlib.is_interactive(), plt.rcParams['figure.dpi']",
        "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': [1.5, 2]})",
        "pd.get_option('display.max_columns'), pd.get_option('display.width')",
        "try:\n    1 / 0\nexcept Exception as e:\n    raise RuntimeError('later') from e",
    ],
    "computes": [
        "from sklearn.cluster import KMeans\nimport numpy as np\nrng = np.random.default_rng(1)\n"
        "round(KMeans(3, n_init=2, random_state=0).fit(rng.normal(size=(500, 3))).inertia_, 6)",
        "import duckdb\nduckdb.sql('select 42 as x').fetchall()",
        "from multiprocessing import get_context\nimport math\n"
        "with get_context('fork').Pool(2) as p:\n    print(p.map(math.sqrt, [1, 4, 9]))",
        "import subprocess\nsubprocess.run(['true']).returncode",
        "import threading, time\nthreading.Thread(target=lambda: time.sleep(600)).start()",
        "raise KeyboardInterrupt",
    ],
    "looks": [
        "import os, sys, signal\n[os.environ.get(k) for k in ('TERM', 'MPLBACKEND', 'PYTHONHASHSEED', 'PAGER')]",
        "os.environ.get('JE_ARROW_MALLOC_CONF'), __name__, '__file__' in globals(), sys.path[0]",
        "sys.modules['__main__'].__dict__ is globals(), os.getpgid(0) == os.getpid(), sys.stdout.isatty()",
        "signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), os.umask(0o22)",
        "sorted(globals())",
        "import pickle\nclass A: pass\ntype(pickle.loads(pickle.dumps(A()))) is A",
        "get_ipython().kernel.shell is get_ipython()",
        "sys.exit('with a word')",
    ],
}  # each fails in its last cell, after which nothing is executed; `displays` in the one before


@pytest.fixture(scope="module")
def pool():
    """A pool that only these tests use: they kill, flood and starve what runs in it."""
    with Pool(2) as forks:
        yield forks


@pytest.fixture
def plan_of(tmp_path):
    """Plan a study with the notebooks given by name."""

    def plan(**notebooks):
        write_study(tmp_path)
        for name, cells in notebooks.items():
            write_notebook(tmp_path / "notebooks", name, *cells)
        return plan_run(tmp_path / "study.yml", notebooks=tmp_path / "notebooks")

    return plan


def texts(outcome) -> list[str]:
    """Return what each cell after the parameters printed or returned."""
    cells = [c for c in outcome.executed.cells[3:] if c.cell_type == "code"]
    return ["".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in c.outputs) for c in cells]


def test_every_kind_of_cell_gives_the_bytes_of_a_kernel(plan_of, tmp_path, pool, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # under it ipykernel does not catch what programs print
    plan = plan_of(**CASES)
    write_answer(tmp_path / "notebooks")
    forked = make_run(plan, tmp_path / "a" / "run", pool=pool, reproducible=True, timeout=120)
    monkeypatch.setenv("CXRESEARCH_EXECUTION", "kernel")
    cold = make_run(plan, tmp_path / "b" / "run", pool=pool, reproducible=True, timeout=120)
    assert {o.name for o in forked.record.notebooks if o.status == "failed"} == set(CASES)
    assert tree(forked.folder) == tree(cold.folder)


def compared(root, monkeypatch, pool, names) -> None:
    plan = plan_run(root / "data" / "example" / "study.yml", only=names, notebooks=root / "notebooks")
    folder = root / "reports" / f".compared-{os.getpid()}"  # as deep as runs are: the study's path is in the outputs
    try:
        forked = make_run(plan, folder / "a" / "run", pool=pool, reproducible=True)
        monkeypatch.setenv("CXRESEARCH_EXECUTION", "kernel")
        cold = make_run(plan, folder / "b" / "run", pool=pool, reproducible=True)
        assert forked.whole
        assert tree(forked.folder) == tree(cold.folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_notebook_of_the_project_gives_the_bytes_of_a_kernel(root, monkeypatch, pool):
    compared(root, monkeypatch, pool, ["effort"])


@pytest.mark.soak
def test_all_notebooks_of_the_project_give_the_bytes_of_a_kernel(root, monkeypatch, pool):
    compared(root, monkeypatch, pool, [])


SPOILS = """
import os, random, sys, warnings
import duckdb, json, matplotlib, numpy as np, pandas as pd
os.environ["LEFT"] = "1"; os.umask(0); os.chdir("/")
sys.path.insert(0, "/left"); sys.modules["left"] = sys; json.left = True
matplotlib.rcParams["figure.dpi"] = 7
pd.set_option("display.max_rows", 3)
warnings.simplefilter("ignore"); np.seterr(all="raise")
duckdb.sql("create table left_behind as select 1 as x")
left = True
"""
LOOKS = """
import os, random, sys, warnings
import duckdb, json, matplotlib, numpy as np, pandas as pd
found = [os.environ.get("LEFT"), oct(os.umask(0o22)), os.getcwd() == "/", "/left" in sys.path, "left" in sys.modules,
         hasattr(json, "left"), matplotlib.rcParams["figure.dpi"], pd.get_option("display.max_rows"),
         warnings.filters[0][0], np.geterr()["over"], duckdb.sql("show tables").fetchall(), "left" in globals()]
"""


def test_nothing_passes_from_one_notebook_to_the_next(plan_of, tmp_path):
    plan = plan_of(a_looks=[LOOKS, "found"], b_spoils=[SPOILS, LOOKS, "found"], c_looks=[LOOKS, "found"])
    with Pool(1) as pool:  # one after another
        before, spoilt, after = make_run(plan, tmp_path / "run", pool=pool).record.notebooks
    assert texts(before)[-1] == texts(after)[-1] != texts(spoilt)[-1]
    assert texts(spoilt)[-1].count("True") == 5


def test_chance_differs_between_forks(plan_of, tmp_path, pool):
    draw = "import random, numpy as np, uuid\nrandom.random(), np.random.random(), uuid.uuid4().hex"
    one, two = make_run(plan_of(a=[draw], b=[draw]), tmp_path / "run", pool=pool).record.notebooks
    drawn = [texts(o)[-1].strip("()").split(",") for o in (one, two)]  # a long tuple is written on lines
    assert all(x != y for x, y in zip(*drawn)) and len(drawn[0]) == 3


@pytest.mark.parametrize("megabytes", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_megabytes_of_print_arrive_whole(plan_of, tmp_path, pool, megabytes):
    plan = plan_of(n=[f"for i in range({megabytes * 10_000}):\n    print('x' * 99)"])
    work = tmp_path / "work"
    work.mkdir()
    outcome = pool.execute(plan.tasks[0], plan.study, work, timeout=600)
    assert len(outcome.executed.cells[3].outputs[0].text) == megabytes * 1_000_000


def test_a_working_folder_that_is_gone_fails_nothing_but_its_notebook(plan_of, tmp_path, pool):
    away = "import os, shutil\nos.makedirs('sub'); os.chdir('sub'); os.rmdir('../sub')\nprint('still')"
    plan = plan_of(a=[away, "1"], b=["1"])
    gone, other = make_run(plan, tmp_path / "run", pool=pool).record.notebooks
    assert texts(gone) == ["still\n", "1"] and other.status == "ok"


SLEEPS = "import os, time\nprint('so far')\ntime.sleep(1)\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"


def killed_while_it_sleeps(pool, plan, work) -> tuple[float, object]:
    """Return the seconds from the kill of a notebook's process until its outcome is known, and the outcome."""
    work.mkdir()
    at = []

    def kill():
        pid = wait_for(
            lambda: (work / "pid").is_file() and (work / "pid").read_text(), "the notebook tells its process"
        )
        at.append(time.monotonic())
        os.kill(int(pid), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    outcome = pool.execute(plan.tasks[0], plan.study, work, timeout=600)
    thread.join()
    return time.monotonic() - at[0], outcome


def test_a_killed_notebook_is_known_long_before_its_time_is_up_with_its_cell_and_what_it_printed(
    plan_of, tmp_path, pool
):
    seconds, outcome = killed_while_it_sleeps(pool, plan_of(n=["1", SLEEPS]), tmp_path / "work")
    assert seconds < PATIENCE  # of 600; how soon on an idle machine is for benchmarks/runs.py
    assert outcome.reason == "cell 5: the kernel died in this cell: killed, or out of memory"
    assert outcome.executed.cells[4].outputs[0].text == "so far\n"


def test_where_no_process_can_be_forked_notebooks_run_in_kernels(plan_of, tmp_path, pool, monkeypatch):
    def refuse(*_):
        raise EOFError

    monkeypatch.setattr(SERVERS, "start", refuse)
    (outcome,) = make_run(plan_of(n=["import os\nos.getppid()"]), tmp_path / "run", pool=pool).record.notebooks
    assert outcome.status == "ok" and texts(outcome)[0] == str(os.getpid())


def test_a_server_that_runs_leaves_the_environment_alone(pool, monkeypatch):
    """Beside it another notebook may be given a copy of the environment, in which it must not take itself for a server."""
    server, seen = SERVERS.warm_up(), []
    ensure = server.ensure_running
    monkeypatch.setattr(server, "ensure_running", lambda: seen.append("CXRESEARCH_WARM_UP" in os.environ) or ensure())
    assert SERVERS.warm_up() is server and not any(seen)


def test_what_a_notebook_writes_has_the_mode_of_who_starts_it(plan_of, tmp_path, pool):
    """The server is older than the umask of this moment."""
    plan, before = plan_of(n=["open('x.txt', 'w').close()"]), os.umask(0o27)
    try:
        assert pool.execute(plan.tasks[0], plan.study, tmp_path, timeout=600).status == "ok"
    finally:
        os.umask(before)
    assert oct((tmp_path / "x.txt").stat().st_mode & 0o777) == "0o640"


def test_a_program_whose_name_the_system_cut_within_a_letter_forks_kernels_all_the_same(plan_of, tmp_path, pool):
    program = Path("/proc/self/comm")
    was = program.read_bytes()
    program.write_bytes("eine umfrage für".encode()[:15])
    try:
        run = make_run(plan_of(says=["1"]), tmp_path / "run", pool=pool)
    finally:
        program.write_bytes(was.strip())
    assert [entry.reason for entry in run.record.notebooks] == [None]


def test_no_process_of_a_notebook_is_left(plan_of, tmp_path, pool):
    start = "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True).pid"
    (outcome,) = make_run(plan_of(n=[start]), tmp_path / "run", pool=pool).record.notebooks
    assert not running(int(texts(outcome)[0]))
    assert [p for server in SERVERS.servers.values() for p in descendants(server._forkserver_pid)] == []


def test_a_kernel_of_another_interpreter_or_with_other_words_is_not_forked():
    ours = [sys.executable, "-m", "ipykernel_launcher", "-f", "x.json"]
    assert may_fork(ours) and may_fork([*ours, "--HistoryManager.hist_file=:memory:"])
    for other in (["/usr/bin/python2", *ours[1:]], [*ours, "--debug"], [sys.executable, "-c", "1"]):
        assert not may_fork(other)


def test_a_profile_with_start_up_files_or_the_environment_asks_for_kernels(tmp_path, monkeypatch):
    ours = [sys.executable, "-m", "ipykernel_launcher", "-f", "x.json"]
    startup = tmp_path / "profile_default" / "startup"
    startup.mkdir(parents=True)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    assert may_fork(ours)
    (startup / "00-first.py").touch()
    assert not may_fork(ours)
    (startup / "00-first.py").unlink()
    monkeypatch.setenv("CXRESEARCH_EXECUTION", "kernel")
    assert not may_fork(ours)
    monkeypatch.delenv("CXRESEARCH_EXECUTION")
    assert may_fork(ours)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not may_fork(ours)


def test_the_end_of_a_kernel_is_read_once_whoever_asks_at_the_same_time(monkeypatch):
    read, (reading, writing) = forkserver.read_signed, os.pipe()
    monkeypatch.setattr(forkserver, "read_signed", lambda fd: (time.sleep(0.2), read(fd))[1])
    os.write(writing, (3).to_bytes(8, sys.byteorder))
    os.close(writing)
    fork, told = Fork(0, 2**30, reading), []  # of processes that there cannot be
    asking = [threading.Thread(target=lambda: told.append(fork.poll())) for _ in range(3)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert told == [3, 3, 3]


async def started(stops_at_line_3: bool) -> list:
    """Start a warm kernel as any program does, over the network of this machine, and return what became of it."""
    manager = AsyncKernelManager(kernel_name="python3", transport="tcp")
    await manager.start_kernel()
    ports = [value for key, value in manager.get_connection_info().items() if key.endswith("_port")]
    for port in ports:
        socket.create_connection(("127.0.0.1", port)).close()
    client, fork = manager.client(), manager.provisioner.process
    client.start_channels()
    await client.wait_for_ready()
    seen = await stopped(client) if stops_at_line_3 else []
    client.stop_channels()
    await manager.shutdown_kernel()
    assert [type(client).__module__, type(fork), len(ports)] == ["cxresearch.runs.warm", Fork, 5]
    return [*seen, *[fork.returncode] * (not stops_at_line_3)]


async def stopped(client) -> list:
    """Execute a cell with a breakpoint as JupyterLab does, and return the line at which it stopped and what it printed."""

    async def asked(command: str, **arguments) -> dict:
        content = {"type": "request", "seq": 1, "command": command, "arguments": arguments}
        client.control_channel.send(message := client.session.msg("debug_request", content))
        while (told := await client.control_channel.get_msg(timeout=PATIENCE))["parent_header"] != message["header"]:
            pass
        return told["content"]["body"] if "body" in told["content"] else {}

    async def heard(kind: str, event: str | None = None) -> dict:
        while True:
            told = await client.iopub_channel.get_msg(timeout=PATIENCE)
            if told["msg_type"] == kind and event in (None, told["content"].get("event")):
                return told["content"]

    await asked("initialize", clientID="t", adapterID="", pathFormat="path", linesStartAt1=True, columnsStartAt1=True)
    await asked("attach")
    code = "a = 1\nb = 2\nprint(a + b)"
    path = (await asked("dumpCell", code=code))["sourcePath"]
    await asked("setBreakpoints", source={"path": path}, breakpoints=[{"line": 3}], sourceModified=False)
    await asked("configurationDone")
    client.execute(code)
    thread = (await heard("debug_event", "stopped"))["body"]["threadId"]
    line = (await asked("stackTrace", threadId=thread))["stackFrames"][0]["line"]
    await asked("continue", threadId=thread)
    printed = (await heard("stream"))["text"].strip()
    assert (await client.shell_channel.get_msg(timeout=PATIENCE))["content"]["status"] == "ok"
    return [line, printed]


def test_a_kernel_is_there_when_its_start_returns_its_debugger_stops_and_its_end_is_its_own(pool, monkeypatch):
    monkeypatch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", NAME)
    assert asyncio.run(started(stops_at_line_3=False)) == [0]
    assert asyncio.run(started(stops_at_line_3=True)) == [3, "3"]


def test_an_exit_status_in_words():
    told = [how_ended(status) for status in (None, -9, -11, 3)]
    assert told == ["killed, or out of memory", "killed, or out of memory", "SIGSEGV", "it left with exit status 3"]

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hypernetes.cli import lock


def test_whoever_holds_the_lock_is_named_to_the_others(tmp_path: Path):
    path = tmp_path / "run" / "lock"
    assert lock.holder(path) is None
    with lock.held(path):
        assert lock.holder(path) == os.getpid()
        with pytest.raises(lock.AlreadyRunning) as caught, lock.held(path):
            pass
        assert caught.value.pid == os.getpid()
    assert lock.holder(path) is None


def test_a_killed_holder_leaves_no_lock(tmp_path: Path):
    path = tmp_path / "lock"
    program = (
        "import sys, time, pathlib\nfrom hypernetes.cli import lock\n"
        "with lock.held(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert lock.holder(path) == child.pid
        child.kill()
    assert lock.holder(path) is None

"""The workers of a killed run end."""

import os
import signal
import subprocess
import sys
import time

from l2m_utils.children import end_with_parent
from l2m_utils.project import PROJECT

POOL = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from l2m_utils.children import end_with_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_worker_ends_with_a_killed_parent(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 20
    try:
        while time.monotonic() < end:
            os.kill(worker, 0)
            time.sleep(0.05)
        os.kill(worker, signal.SIGKILL)
        raise AssertionError("the worker runs on")
    except ProcessLookupError:
        pass


def test_a_process_that_no_pool_started_is_left_alone():
    end_with_parent()

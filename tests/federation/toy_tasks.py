"""Tasks for the worker pool that know nothing of Flower: the client's name says what to do."""

import os
import time
from pathlib import Path


def factory(config, emit):
    folder = Path(config)

    def meet(data):
        """Return only when the other one has come, which it cannot if the two run one after the other."""
        mine, other = data.decode().split()
        (folder / mine).touch()
        while not (folder / other).exists():
            time.sleep(0.005)
        return b"met"

    def tell(data):
        for step in range(3):
            emit({"kind": "step", "step": step, "of": data.decode()})
        return data

    def hang(data):
        """Keep a named pipe open until this process ends: its reader learns of the end, and of nothing else."""
        with (folder / data.decode()).open("wb", buffering=0) as pipe:
            pipe.write(b"!")
            time.sleep(600)
        return b""

    def wait(data):
        emit({"kind": "waiting"})
        time.sleep(600)
        return b""

    def die(data):
        os.kill(os.getpid(), 9)
        return b""

    def fail(data):
        print("said before it failed")
        raise RuntimeError("the cause")

    def threads(data):
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return " ".join(os.environ[name] for name in names).encode()

    def pid(data):
        return str(os.getpid()).encode()

    def parent(data):
        return str(os.getppid()).encode()

    def state(data):
        """Say what of this process a fork could have broken."""
        import torch

        leads = os.getpgid(0) == os.getpid()
        return f"{len(os.listdir('/proc/self/task'))} {torch.cuda._is_in_bad_fork()} {leads}".encode()

    tasks = {one.__name__: one for one in (meet, tell, hang, wait, die, fail, threads, pid, parent, state)}
    return lambda name, data: tasks[name](data)

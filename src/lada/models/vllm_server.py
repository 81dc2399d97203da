"""A vLLM server that outlives single questions: started if none answers, monitored, and ended with its learner.

If a server already answers for the model, such as one shared by several runs, it is used and left running.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lada.core.errors import InputError, LadaError
from lada.core.shown import in_one_line
from lada.models.api_options import ApiOptions
from lada.models.api_transport import read_secrets
from lada.models.vllm_keeper import BOOT, GRACE

PAUSE = 0.5
"""Seconds between two checks whether the server is ready."""
LOADING = frozenset({500, 503})
"""The status codes of /health while there is no engine behind it."""
FREE = 20.0
"""Seconds to wait for a port that a server of an earlier run may be about to release."""
REASONS = {
    r"less than desired GPU memory utilization|No available memory for the cache|out of memory|larger than the "
    r"available KV cache memory": "the GPU has too little free memory; in serve.arguments lower "
    "--gpu-memory-utilization or --max-model-len, or raise --tensor-parallel-size",
    r"address already in use": "its port is taken; give another port in base_url",
    r"unrecognized arguments": "it does not know an argument; see serve.arguments",
}
"""Log messages for the usual reasons why vLLM does not start, each with a remedy."""
State = Literal["ready", "loading", "nobody"]


def find_vllm() -> str:
    """Return the path of vLLM's command. Raises InputError if it is not installed."""
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    if found := shutil.which("vllm", path=places):
        return found
    raise InputError(
        "model.api.serve: the command vllm is not installed; call `pip install vllm` on a machine that it supports, or "
        "start the server elsewhere and leave serve out"
    )


class VllmServer:
    """The server at `base_url`."""

    def __init__(self, options: ApiOptions, log: Path) -> None:
        """`log` receives the server's output from its start on."""
        assert options.serve is not None
        self._options, self._serve, self._log = options, options.serve, log
        self._root = options.base_url.removesuffix("/v1")
        self._process: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[..., VllmServer] | None = None
        self._told = False
        self._notices: tuple[str, ...] = ()

    def ready(self) -> None:
        """Start a server if there is none, and return as soon as one answers for the model.

        Raises InputError if something else uses the port, LadaError if the server ends or is not ready in time.
        """
        begun = time.monotonic()
        taken = begun + FREE
        while (state := self._state(time.monotonic() < taken)) != "ready":
            if state == "nobody" and (self._process is None or self._process.poll() is not None):
                self.check()
                self._start()
            self.check()
            if time.monotonic() - begun > self._serve.timeout:
                raise LadaError(
                    f"model.api.serve: the server for {self._options.model!r} is not ready after "
                    f"{self._serve.timeout:g} s; set a larger serve.timeout, or see its log {str(self._log)!r}"
                )
            time.sleep(PAUSE)
        if not self._told:
            self._told = True
            self._notices = (self._which(),)

    def check(self) -> None:
        """If the server that was started has ended, raise LadaError with the reason from its log."""
        if self._process is not None and (code := self._process.poll()) is not None:
            self._process = None
            raise LadaError(f"model.api.serve: vllm serve ended (code {code}); {self._why()}")

    def close(self) -> None:
        """End the server if it was started here."""
        if self._finalizer is not None:
            self._finalizer()
        self._process = None

    def take_notices(self) -> tuple[str, ...]:
        """Report once which server is used."""
        notices, self._notices = self._notices, ()
        return notices

    def _which(self) -> str:
        if self._process is None:
            return (
                f"a server at {self._options.base_url} answered for {self._options.model!r} already and is left alone"
            )
        return f"vllm serve was started for {self._options.model!r}; its log is {str(self._log)!r}"

    def _state(self, patient: bool) -> State:
        """Return the state of the address. Raises InputError if something other than a server of this model answers
        there.

        With `patient`, it may still be a server that is about to end.
        """
        import httpx  # here, since reading a configuration does not need it

        try:
            headers = read_secrets(self._options)
            with httpx.Client(timeout=10, trust_env=False, headers=headers) as http:
                health = http.get(f"{self._root}/health")
                if health.status_code in LOADING:
                    return "loading"
                health.raise_for_status()
                reply = http.get(f"{self._root}/v1/models")
                names = [each["id"] for each in reply.raise_for_status().json()["data"]]
        except httpx.ConnectError:
            return "nobody"
        except httpx.TimeoutException:
            return "loading"
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            if patient:
                return "loading"
            raise InputError(
                f"model.api.base_url: what answers at {self._root} is not a vLLM server ({type(error).__name__}); "
                "give another port, or end it"
            ) from None
        if self._options.model in names:
            return "ready"
        if patient:
            return "loading"
        raise InputError(
            f"model.api.base_url: the server at {self._root} answers for {', '.join(map(repr, names))}, not for "
            f"{self._options.model!r}; give another port, or end it"
        )

    def _start(self) -> None:
        """Start the server under a keeper, which ends it if this process is gone."""
        command = [
            find_vllm(),
            "serve",
            self._options.model,
            *("--host", "127.0.0.1", "--port", str(urlsplit(self._root).port)),
            *("--max-logprobs", str(self._options.top_log_probs)),
            *("--generation-config", "vllm", "--seed", "0"),  # a model's own settings must not bend what is written
            *self._serve.arguments,
        ]
        key = self._options.key_variable
        environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        if key is not None:
            environment["VLLM_API_KEY"] = os.environ[key]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, json.dumps(sys.path), json.dumps(command)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._finalizer = weakref.finalize(self, _end, self._process)

    def _why(self) -> str:
        """Return the reason from the log, for users."""
        with suppress(OSError):
            text = self._log.read_text(encoding="utf-8", errors="replace")
            for pattern, reason in REASONS.items():
                if re.search(pattern, text, re.IGNORECASE):
                    return f"{reason}. Its log is {str(self._log)!r}"
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            told = ([line for line in lines if re.search(r"\w+Error\b", line)] or lines)[-1:]
            if told:
                return f"its log {str(self._log)!r} says: {in_one_line(told[0][:300])!r}"
        return f"its log {str(self._log)!r} is empty"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a keeper, and with it the server."""
    process.terminate()
    try:
        process.wait(2 * GRACE + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()

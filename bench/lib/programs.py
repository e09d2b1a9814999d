"""Starts one program once, mostly cold and inside a limit, and reports what it and the operating system measured."""

import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cgroup import MemoryCgroup


@dataclass
class Outcome:
    program: str
    command: list
    stats: dict | None = None  # what the program wrote
    failure: str | None = None
    failcnt: int | None = None
    peak_bytes: int | None = None
    disk_bytes_read: int | None = None
    disk_bytes_per_second: float | None = None  # the disk's bandwidth just before and after this run
    wall_seconds: float = 0.0


def empty_page_cache():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def run_limited(program, command, limit_bytes, timeout):
    """Cold and inside a limit; see run_measured()."""
    empty_page_cache()
    with MemoryCgroup(f"brimful-bench-{os.getpid()}", limit_bytes) as group:
        return run_measured(program, command, timeout, group)


def run_measured(program, command, timeout, group=None, environment=None):
    """`command` gets `--stats FILE` appended. Brimful remembers nothing of earlier runs, such as which experts they used.
    Never raises for what the program does. Without a group nothing is limited, and the peak of RAM is the high-water mark
    that the kernel keeps for the process (VmHWM)."""
    outcome = Outcome(program, [str(part) for part in command])
    with tempfile.TemporaryDirectory() as scratch:
        stats_file, errors_file = Path(scratch) / "stats.json", Path(scratch) / "errors"
        environment = (environment or os.environ) | {"XDG_STATE_HOME": f"{scratch}/state"}
        with open(errors_file, "wb") as errors:
            start = time.monotonic()
            child = subprocess.Popen([*outcome.command, "--stats", str(stats_file)], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=errors, env=environment, start_new_session=True,
                                     preexec_fn=group.enter if group else None)
            timed_out, usage = _wait(child, start + timeout)
        outcome.wall_seconds = time.monotonic() - start
        outcome.disk_bytes_read = usage.ru_inblock * 512
        measured = group.usage() if group else {"failcnt": None, "peak_bytes": usage.ru_maxrss * 1024, "oom_kills": 0}
        outcome.failcnt, outcome.peak_bytes = measured["failcnt"], measured["peak_bytes"]
        if timed_out:
            outcome.failure = f"stopped after {timeout:.0f} s"
        elif child.returncode != 0:
            lines = errors_file.read_text(errors="replace").strip().splitlines()
            outcome.failure = ("out of memory: killed" if measured["oom_kills"] else
                               f"ended by signal {-child.returncode}" if child.returncode < 0 else
                               f"exit code {child.returncode}: {lines[-1] if lines else 'no message'}")
        else:
            try:
                outcome.stats = _checked(json.loads(stats_file.read_text()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                outcome.failure = f"no usable statistics: {error!r}"
    return outcome


def _checked(stats):
    """Raises KeyError where the contract's fields that every comparison needs are missing."""
    stats["load_seconds"], stats["batch" if "batch" in stats else "token_ids"]
    for phase in ("prompt", "decode"):
        stats[phase]["tokens"]
    stats["decode"]["tokens_per_second"]
    return stats


def _wait(child, deadline):
    """wait4, because only it tells the disk reads of all of a program's threads."""
    timed_out = False
    try:
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                child.returncode = os.waitstatus_to_exitcode(status)
                return timed_out, usage
            if time.monotonic() > deadline and not timed_out:
                timed_out = True
                os.killpg(child.pid, signal.SIGKILL)  # and what it started
            time.sleep(0.05)
    except BaseException:  # Ctrl-C here must not leave a program running inside the group
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        raise


class Programs:
    """The command lines of both sides, with the same meaning for each option."""

    def __init__(self, folder, model, threads):
        self.model, self.threads = model, threads
        self.brimful = folder / "brimful"
        self.peer = folder / "brimful-llama-peer"
        self.disk = folder / "brimful-disk-bandwidth"

    def missing(self):
        return [str(p) for p in (self.brimful, self.peer, self.disk) if not p.exists()]

    def _shared(self, case, prompt_file):
        return ["-m", self.model, "-f", prompt_file, "-n", case["tokens"], "-t", self.threads,
                "-c", case["context"], "-b", case["ubatch"], "-ub", case["ubatch"]]

    def brimful_command(self, case, prompt_file, limit_bytes):
        return [self.brimful, "run", *self._shared(case, prompt_file), "--raw", "--temp", 0, "--ignore-eos",
                "--spec-type", "none",  # a pass a token, as on the other side
                "--ram", limit_bytes]

    def peer_command(self, case, prompt_file, load_mode, repack):
        return [self.peer, *self._shared(case, prompt_file), "--load-mode", load_mode, "--repack", repack]

    def run_brimful(self, case, prompt_file, limit_bytes, timeout):
        return run_limited("brimful", self.brimful_command(case, prompt_file, limit_bytes), limit_bytes, timeout)

    def run_peer(self, case, prompt_file, limit_bytes, timeout, load_mode, repack):
        return run_limited("llama.cpp", self.peer_command(case, prompt_file, load_mode, repack), limit_bytes, timeout)

    def disk_bytes_per_second(self):
        empty_page_cache()
        done = subprocess.run([self.disk, self.model, "--seconds", "1"], capture_output=True, check=True)
        return json.loads(done.stdout)["bytes_per_second"]

    def count_tokens(self, prompt_file):
        done = subprocess.run([self.peer, "-m", self.model, "-f", prompt_file, "--count-only"],
                              capture_output=True, check=True)
        return json.loads(done.stdout)["prompt"]["tokens"]

    def brimful_version(self):
        done = subprocess.run([self.brimful, "--version"], capture_output=True, text=True)
        return done.stdout.strip().splitlines()

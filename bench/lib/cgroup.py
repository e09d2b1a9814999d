"""A memory cgroup for one run: the operating system, not the program, says what was used. Versions 1 and 2."""

import os
import signal
import time
from pathlib import Path

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


def version():
    if (V1 / "memory.limit_in_bytes").exists():
        return 1
    controllers = V2 / "cgroup.controllers"
    if controllers.exists() and "memory" in controllers.read_text().split():
        return 2
    return None


def why_unavailable():
    """A line for the user, or None where cgroups can be used."""
    if os.geteuid() != 0:
        return "needs root, to set memory limits (cgroups) and to empty the page cache: use sudo"
    if version() is None:
        return "no memory cgroup controller is mounted under /sys/fs/cgroup (in a container: run it privileged)"
    if not os.access(V1 if version() == 1 else V2, os.W_OK):
        return "/sys/fs/cgroup is read-only (in a container: run it privileged)"
    return None


class MemoryCgroup:
    def __init__(self, name, limit_bytes):
        self.v1 = version() == 1
        self.path = (V1 if self.v1 else V2) / name
        if not self.v1 and "memory" not in (V2 / "cgroup.subtree_control").read_text().split():
            (V2 / "cgroup.subtree_control").write_text("+memory")
        self.path.mkdir()
        try:
            if self.v1:
                self._write("memory.limit_in_bytes", limit_bytes)
                # Not memory.memsw.limit_in_bytes: where it equals the limit, the kernel meets it first, and
                # memory.failcnt stays 0 whatever happens.
                self._write("memory.swappiness", 0)
            else:
                self._write("memory.max", limit_bytes)
                if (self.path / "memory.swap.max").exists():
                    self._write("memory.swap.max", 0)
        except OSError:
            self.path.rmdir()
            raise

    def enter(self):
        """Moves the calling process in; meant for a child between fork and exec."""
        self._write("cgroup.procs", 0)

    def usage(self):
        if self.v1:
            oom = dict(line.split() for line in self._read("memory.oom_control").splitlines())
            return {"failcnt": int(self._read("memory.failcnt")),
                    "peak_bytes": int(self._read("memory.max_usage_in_bytes")),
                    "oom_kills": int(oom.get("oom_kill", 0))}
        events = dict(line.split() for line in self._read("memory.events").splitlines())
        peak = self.path / "memory.peak"  # Linux 5.19 and later
        return {"failcnt": int(events["max"]),
                "peak_bytes": int(peak.read_text()) if peak.exists() else None,
                "oom_kills": int(events["oom_kill"])}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(50):
            try:
                for pid in self._read("cgroup.procs").split():  # what a killed program left behind
                    os.kill(int(pid), signal.SIGKILL)
                if self.v1:
                    self._write("memory.force_empty", 0)
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)

    def _read(self, file):
        return (self.path / file).read_text()

    def _write(self, file, value):
        (self.path / file).write_text(str(value))

"""A program that serves HTTP, in a memory cgroup of its own."""

import http.client
import os
import signal
import subprocess
import time

import cgroup
from programs import empty_page_cache

STARTS_WITHIN = 300  # seconds


class Server:
    """A program that serves, in a cgroup of its own; leaving ends it."""

    def __init__(self, command, port, limit):
        self.command, self.port, self.limit = [str(part) for part in command], port, limit

    def __enter__(self):
        empty_page_cache()
        self.group = cgroup.MemoryCgroup(f"brimful-bench-{os.getpid()}", self.limit)
        self.group.__enter__()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=self.group.enter)
        deadline = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < deadline and self.process.poll() is None and self._health() != 200:
            time.sleep(0.2)
        return self

    def _health(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status
        except OSError:
            return None

    def failure(self):
        if self.process.poll() is not None:
            return "out of memory: killed" if self.group.usage()["oom_kills"] else f"ended with {self.process.returncode}"
        return None if self._health() == 200 else "did not start in time"

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.usage = self.group.usage()
        self.group.__exit__()

"""Whether a machine that is shared leaves us its processors: what others take of them is not always counted as stolen."""

import multiprocessing
import os
import time

A_GAP = 0.001  # seconds that a loop which does nothing else was not running
QUIET = 0.05  # of the time may be lost
_fork = multiprocessing.get_context("fork")


def _lost(core, seconds, answer):
    os.sched_setaffinity(0, {core})
    begin = last = time.perf_counter()
    lost = 0.0
    while last - begin < seconds:
        now = time.perf_counter()
        if now - last > A_GAP:
            lost += now - last
        last = now
    answer.send(lost / (last - begin))


def lost_share(seconds=0.3):
    """The share of the time that a busy loop on each processor did not get; of the worst."""
    pipes, loops = [], []
    for core in sorted(os.sched_getaffinity(0)):
        mine, theirs = _fork.Pipe(False)
        loops.append(_fork.Process(target=_lost, args=(core, seconds, theirs)))
        pipes.append(mine)
    for loop in loops:
        loop.start()
    shares = [pipe.recv() for pipe in pipes]
    for loop in loops:
        loop.join()
    return max(shares)


def is_quiet():
    return lost_share() < QUIET


def wait_until_quiet(limit=300):
    """Whether the machine became so within `limit` seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if is_quiet():
            return True
        time.sleep(2)
    return False

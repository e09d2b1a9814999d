"""Facts about the machine that is visited. The parsing is pure, apart from the reading."""

import os
import shutil
import tomllib
from pathlib import Path

import cgroup

# For which processors the bundle has programs, the best first; the names are those of ggml's own variants.
LEVELS = {
    "icelake": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512vbmi", "avx512_vnni"},
    "haswell": {"sse4_2", "avx", "avx2", "bmi2", "fma", "f16c"},
}
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}


def level_for(flags):
    """The best level whose instructions the processor has; None where it has too few for any."""
    return next((level for level, needed in LEVELS.items() if needed <= set(flags)), None)


def cpu_flags(cpuinfo):
    return next((line.split(":", 1)[1].split() for line in cpuinfo.splitlines() if line.startswith("flags")), [])


def cpu_level():
    return level_for(cpu_flags(Path("/proc/cpuinfo").read_text()))


def physical_cores():
    """Of those that this process may use, without a second thread of the same core: as many threads as Brimful takes itself."""
    cores = {file.read_text() for file in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings")}
    usable = len(os.sched_getaffinity(0))
    return min(len(cores) or usable, usable)


def file_system_of(path, mounts):
    """The type of the file system that holds `path`, by the text of /proc/mounts."""
    best, kind = "", "unknown"
    for line in mounts.splitlines():
        _, at, its_kind, *_ = line.split()
        if (str(path) + "/").startswith(at.rstrip("/") + "/") and len(at) >= len(best):
            best, kind = at, its_kind
    return kind


def lies_in_memory(folder):
    return file_system_of(folder.resolve(), Path("/proc/mounts").read_text()) in MEMORY_FILE_SYSTEMS


def room_in(folder):
    """Bytes that files may take there; those of our own folder count as free, because each model makes room for the next."""
    ours = sum(file.stat().st_size for file in folder.rglob("*.gguf"))
    return shutil.disk_usage(folder).free + ours


def ram(meminfo, limit):
    """All of the machine's RAM, or what a container may use of it."""
    total = next(int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemTotal:"))
    return min(total, limit) if limit else total


def ram_here():
    """cgroups give the limit where they are mounted; a value that is no number, such as `max`, is none."""
    limits = []
    for file in (cgroup.V2 / "memory.max", cgroup.V1 / "memory.limit_in_bytes"):
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):
            continue
    return ram(Path("/proc/meminfo").read_text(), min(limits, default=None))


def place_for_models():
    """/dev/shm, where it is not one of a few MB as in some containers; else where most room is."""
    places = [Path(place) for place in ("/dev/shm", "/tmp", "/var/tmp") if os.access(place, os.W_OK)]
    shared = [place for place in places if place == Path("/dev/shm") and shutil.disk_usage(place).total > 16 << 30]
    return (shared or [max(places, key=lambda place: shutil.disk_usage(place).free)])[0] / "brimful-visit"


def add_card_rates(profile, toml_texts):
    """Completes the cards of a profile of `brimful probe --json` by the figures of presets with the same name: a probe does not
    measure the rate of a card's memory, nor its multiplications."""
    groups, share = {}, 1.0
    for text in toml_texts:
        parsed = tomllib.loads(text)
        groups |= parsed.get("gpu", {})
        share = parsed.get("gpu_rules", {}).get("multiplication_share", share)
    by_name = {card["name"]: card for card in groups.values()}
    for card in profile["gpus"]:
        if known := by_name.get(card["name"]):
            card.setdefault("memory_bytes_per_s", known["memory_bytes_per_s"])
            card.setdefault("multiplications_per_s", known["int8_operations_per_s"] / 2 * share)
    return profile

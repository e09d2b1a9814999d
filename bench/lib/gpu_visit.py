"""What all calls of a visit share: the machine, the programs, the time that is left, and where results go."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cgroup
import visited_machine
from gpu_memory import Peak, first_gpu
from gpu_sides import Sides, figures
from journal import Journal
from measure import say, write_prompt
from model_sizes import MIB, Machine
from programs import Outcome, Programs, run_measured

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "build" / "gpu-bundle"
UNPACKED = ROOT / "build" / "gpu-bundle-unpacked"  # not in /dev/shm, which containers mount without the right to execute
KEPT = ("load_seconds", "prompt", "decode", "batch", "peak_bytes", "memory_bytes", "device_bytes", "device_experts", "sent_bytes")
TOO_SHORT = 5  # seconds: nothing is started with less
NO_LIMIT = sys.maxsize // 4096 * 4096  # of a cgroup that only counts
CUDA = ("/usr/local/cuda/lib64", "/usr/local/nvidia/lib64")  # where the loader need not look


def text_of(*command, limit=30, environment=None):
    """What a program prints; a line that says so where it cannot be run."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace", timeout=limit,
                              env=environment, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be run: {error}"
    return (done.stdout if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr or done.stdout}").strip()


def unpacked_bundle():
    """The folder of the programs for this processor; None where no bundle was carried here, or none for this processor."""
    level = visited_machine.cpu_level()
    if level is None or not (BUNDLE / "manifest.json").exists():
        return None
    folder = UNPACKED / json.loads((BUNDLE / "manifest.json").read_text())["name"]
    if not folder.exists():
        partial = folder.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        for name in ("programs", "back-ends"):
            with tarfile.open(BUNDLE / f"{name}.tar.xz") as archive:
                archive.extractall(partial, filter="data")
        for one in visited_machine.LEVELS:
            (partial / one / "back-ends").symlink_to("../back-ends")
        partial.rename(folder)
    return folder / level


class Visit:
    def __init__(self, suite, call, output, programs=None, work=None):
        self.suite, self.call, self.number = suite, suite["calls"][call], int(call)
        self.deadline = time.monotonic() + self.call["limit"]
        self.work = work or visited_machine.place_for_models()
        self.work.mkdir(parents=True, exist_ok=True)
        self.programs = programs or unpacked_bundle() or ROOT / "build" / "bin"
        self.output = output
        self.journal = Journal(output / f"call-{call}.jsonl")
        self.gpu = first_gpu()
        self.counts = cgroup.why_unavailable() is None
        self.threads = visited_machine.physical_cores()
        self.environment = self._environment()
        self.failed = False

    def _environment(self):
        """CUDA's libraries are found where the loader does not look; caches stay in the work folder."""
        places = [os.environ.get("LD_LIBRARY_PATH"), *filter(os.path.isdir, CUDA)]
        caches = ("XDG_CACHE_HOME", "XDG_STATE_HOME")
        return os.environ | {"LD_LIBRARY_PATH": ":".join(filter(None, places)), **{name: str(self.work / "cache") for name in caches}}

    def write(self, kind, **fields):
        self.journal.write(kind, call=self.number, **fields)

    def fact(self, name, value):
        say(f"    {name}: {value}")
        self.write("fact", name=name, value=value)

    def check(self, line, expected, measured, ok):
        say(f"    {'ok  ' if ok else 'NOT '} {line}: {measured}; expected {expected}")
        self.failed |= not ok
        self.write("check", line=line, expected=expected, measured=measured, ok=ok)

    def leave_out(self, what, why, side="-"):
        say(f"    {what} is left out: {why}")
        self.failed = True
        self.write("left out", work=what, side=side, failure=why)

    def left(self):
        return self.deadline - time.monotonic()

    def machine(self):
        return Machine(self.gpu and self.gpu.free(), visited_machine.ram_here(), visited_machine.room_in(self.work),
                       visited_machine.lies_in_memory(self.work))

    def text_of(self, *command, limit=30):
        return text_of(*command, limit=max(min(limit, self.left()), 1), environment=self.environment)

    def model(self, work, layers):
        """The file of a synthetic model, written if it is not there; others make room for it. None where that failed."""
        file = self.work / f"{work['like']}-{work['type']}-{work.get('router', 'uniform')}-{layers}.gguf"
        if not file.exists():
            self.remove_models()
            begin = time.monotonic()
            flags = ["--vocab", work["vocab"]] if "vocab" in work else []
            answer = self.text_of(self.programs / "brimful", "synth", "--like", work["like"], "--type", work["type"], "--router",
                                  work.get("router", "uniform"), "--layers", layers, *flags, "-o", file, limit=self.left())
            if not file.exists():
                return self.leave_out(work["name"], f"no model: {answer}")
            say(f"    {file.name}: {file.stat().st_size / 1e9:.2f} GB, written in {time.monotonic() - begin:.0f} s")
        return file

    def remove_models(self):
        """They may take most of the RAM."""
        for model in self.work.glob("*.gguf*"):
            model.unlink()

    def sides(self, work, size, model):
        io = "threads" if visited_machine.lies_in_memory(self.work) else "auto"
        return Sides(self.programs, work, size, model, self.threads, io)

    def prompt(self, work, model, tokens):
        """The file of a text of so many tokens, written once for each tokenizer."""
        folder = self.work / "prompts" / f"{work['like']}-{work.get('vocab', 'all')}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"prompt-{tokens}.txt"
        if not file.exists():
            write_prompt({"kind": "part", "prompt_tokens": tokens}, Programs(self.programs, model, 1), folder).rename(file)
        return file

    def hardware(self, work, model):
        """The file that describes this machine to plans of models of this type; it is measured once. None where that failed."""
        file = self.work / f"hardware-{work['type']}.json"
        if not file.exists():
            answer = self.text_of(self.programs / "brimful", "probe", model, "--quick", "--json", limit=self.suite["most_seconds"])
            try:
                profile = json.loads(answer)
            except ValueError:
                return self.leave_out("forecasts", f"brimful probe: {answer}")
            presets = [preset.read_text() for preset in (ROOT / "hardware" / "gpus.toml", ROOT / "bench" / "gpu" / "h200.toml")]
            file.write_text(json.dumps(visited_machine.add_card_rates(profile, presets)))
        self.write("machine", profile=json.loads(file.read_text()))
        return file

    def measure(self, side, command, work, most=None, expected=None, **fields):
        """Runs one program once; its result is on the disk when this returns. `expected`: tokens/s by figure, to be shown."""
        limit = min(most or self.suite["most_seconds"], self.left())
        if limit < TOO_SHORT:
            self.leave_out(work, "no time is left in this call", side)
            return Outcome(side, command), {}
        with Peak(self.gpu) as peak:
            outcome = self._run(side, command, limit)
        outcome.vram_peak = peak.bytes
        rates = {figure: rate for figure, rate in figures(outcome, fields.get("together", False)).items() if rate}
        self.failed |= outcome.failure is not None
        stats = {key: outcome.stats[key] for key in KEPT if key in outcome.stats} if outcome.stats else None
        self.write("run", work=work, side=side, figures=rates, failure=outcome.failure, vram_peak=peak.bytes, ram_peak=outcome.peak_bytes,
                   seconds=outcome.wall_seconds, stats=stats, command=outcome.command[1:], **fields)
        shown = ", ".join(beside_expected(figure, rate, (expected or {}).get(figure)) for figure, rate in rates.items())
        vram = f", {peak.bytes / MIB:.0f} MiB of VRAM" if peak.bytes is not None else ""
        say(f"    {work}, {side} {fields.get('setting', '')}: {outcome.failure or shown}; {outcome.wall_seconds:.0f} s{vram}")
        return outcome, rates

    def _run(self, side, command, limit):
        command = [str(part) for part in command]
        try:
            if self.counts:
                with cgroup.MemoryCgroup(f"brimful-visit-{os.getpid()}", NO_LIMIT) as group:
                    return run_measured(side, command, limit, group, self.environment)
            return run_measured(side, command, limit, environment=self.environment)
        except OSError as error:
            return Outcome(side, command, failure=str(error))


def beside_expected(figure, rate, expected):
    return f"{figure} {rate:.2f} tokens/s" + (f" (expected {expected:.2f}: {rate / expected:.2f} of it)" if expected else "")

"""One case of a suite at one limit: both sides, interleaved, and what follows from their numbers."""

import statistics
import sys

# The first decode pass after a prompt also pays for that; both sides leave it out.
SKIPPED_PASSES = 1
ALL_RESIDENT_PERCENT = 150


def say(text):
    print(text, file=sys.stderr, flush=True)


def spread(values):
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def seconds_per_token(stats):
    """Steady state, where the program recorded every pass; its own average otherwise."""
    passes = stats["decode"].get("seconds", [])[SKIPPED_PASSES:]
    if passes:
        return sum(passes) / len(passes)
    rate = stats["decode"]["tokens_per_second"]
    return 1 / rate if rate else None


def tokens_per_second(kind, outcome):
    if outcome.stats is None:
        return None
    if kind == "prompt":
        return outcome.stats["prompt"]["tokens_per_second"]
    if kind == "together":
        return outcome.stats["decode"]["tokens_per_second"]
    seconds = seconds_per_token(outcome.stats)
    return 1 / seconds if seconds else None


def write_prompt(case, programs, folder):
    """A text that both tokenizers see; a prompt case gets as many of its tokens as it can without passing them."""
    file = folder / f"prompt-{case['kind']}.txt"
    if "prompt" in case:
        file.write_text(case["prompt"])
        return file
    words = "the man and his dog went to see a big red house on the hill where they had".split()

    def tokens(count):
        file.write_text(" ".join(words[i % len(words)] for i in range(count)))
        return programs.count_tokens(file)

    low, high = 1, case["prompt_tokens"]
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens(middle) <= case["prompt_tokens"] else (low, middle - 1)
    tokens(low)
    return file


def settings(load_mode, repack):
    return {"load_mode": load_mode, "repack": repack}


def peer_settings(suite):
    """Every way in which llama.cpp may hold its weights."""
    return [settings(load_mode, repack) for repack in ("on", "off") for load_mode in suite["load_modes"]]


class RowMeasurement:
    def __init__(self, programs, case, percent, limit_bytes, prompt_file, candidates, timeout, probe_timeout):
        self.programs, self.case, self.kind = programs, case, case["kind"]
        self.percent, self.limit_bytes, self.prompt_file = percent, limit_bytes, prompt_file
        self.candidates, self.timeout, self.probe_timeout = candidates, timeout, probe_timeout
        self.problems, self.probes = [], []
        self.peer_runs, self.brimful_runs = [], []

    def measure(self, reps):
        peer = self._choose_peer_settings()
        for rep in range(reps):
            before = self.programs.disk_bytes_per_second()
            brimful = self.programs.run_brimful(self.case, self.prompt_file, self.limit_bytes, self.timeout)
            after = self.programs.disk_bytes_per_second()
            brimful.disk_bytes_per_second = (before + after) / 2
            self.brimful_runs.append(brimful)
            self._note(brimful, rep, reps)
            if peer:
                outcome = self.programs.run_peer(self.case, self.prompt_file, self.limit_bytes, self.timeout, **peer)
                self.peer_runs.append(outcome)
                self._note(outcome, rep, reps)
        self._check()
        return self._row(peer)

    def _choose_peer_settings(self):
        """llama.cpp at its best: each of the candidates in a short run; one that is killed did not survive this limit."""
        short = dict(self.case, tokens=min(self.case["tokens"], 5))
        for candidate in self.candidates:
            outcome = self.programs.run_peer(short, self.prompt_file, self.limit_bytes, self.probe_timeout, **candidate)
            rate = tokens_per_second(self.kind, outcome)
            self.probes.append({**candidate, "tokens_per_second": rate, "failure": outcome.failure})
            say(f"    probe llama.cpp {candidate['load_mode']}, repack {candidate['repack']}: "
                + (f"{rate:.3f} tokens/s" if rate else outcome.failure))
        best = max((probe for probe in self.probes if probe["tokens_per_second"]), default=None,
                   key=lambda probe: probe["tokens_per_second"])
        return best and settings(best["load_mode"], best["repack"])

    def _note(self, outcome, rep, reps):
        if outcome.failure:
            self.problems.append(f"{outcome.program}: {outcome.failure}")
        rate = tokens_per_second(self.kind, outcome)
        say(f"    {rep + 1}/{reps} {outcome.program}: " + (f"{rate:.3f} tokens/s" if rate else outcome.failure))

    def _check(self):
        runs = [run for run in self.brimful_runs + self.peer_runs if run.stats]
        if len({run.stats["prompt"]["tokens"] for run in runs}) > 1:
            self.problems.append("the two sides saw prompts of different lengths")
        # Brimful computes with the repacked layout; the plain one has other kernels, which need not give equal bits.
        compared = [run for run in runs if run.program == "brimful" or run.stats["repack"] == "on"]
        if len({tuple(run.stats["token_ids"]) for run in compared}) > 1:
            self.problems.append("WRONG TOKENS: the runs did not generate the same tokens")
        hits = max((run.failcnt for run in self.brimful_runs), default=0)
        if hits:
            self.problems.append(f"brimful ran into its limit {hits} times")

    def _row(self, peer):
        rates = {side: [tokens_per_second(self.kind, run) for run in runs]
                 for side, runs in (("brimful", self.brimful_runs), ("llama.cpp", self.peer_runs))}
        pairs = [s / p for s, p in zip(rates["brimful"], rates["llama.cpp"]) if s and p]
        row = {"kind": self.kind, "model": self.programs.model.name, "model_bytes": self.programs.model.stat().st_size,
               "limit_percent": self.percent, "limit_bytes": self.limit_bytes,
               "brimful": self._side(self.brimful_runs, rates["brimful"]),
               "llama.cpp": self._side(self.peer_runs, rates["llama.cpp"]),
               "peer_settings": peer, "peer_probes": self.probes,
               "peer_survived": [settings(probe["load_mode"], probe["repack"])
                                 for probe in self.probes if not probe["failure"]],
               "ratio": spread(pairs),
               "ratio_at_least": self.case["ratio_at_least"].get(str(self.percent)),
               "disk_bytes_per_second": spread([run.disk_bytes_per_second for run in self.brimful_runs]),
               "problems": sorted(set(self.problems)),
               "runs": [vars(run) for run in self.brimful_runs + self.peer_runs]}
        experts = [run.stats["experts"]["decode"] for run in self.brimful_runs if run.stats and "experts" in run.stats]
        if experts and self.kind == "decode":
            row["expert_hit_rate"] = spread([e["hit_rate"] for e in experts])
            row["read_per_missed"] = spread([e["read_bytes_per_token"] / e["missed_bytes_per_token"] for e in experts
                                             if e["missed_bytes_per_token"]])
            row["read_per_missed_at_most"] = self.case.get("read_per_missed_at_most")
        if row["ratio"]:
            row["ratio"]["median"] = row["brimful"]["tokens_per_second"]["median"] / \
                row["llama.cpp"]["tokens_per_second"]["median"]
        return row

    @staticmethod
    def _side(runs, rates):
        good = [run for run in runs if run.stats]
        return {"tokens_per_second": spread(rates),
                "load_seconds": spread([run.stats["load_seconds"] for run in good]),
                "peak_bytes": max((run.peak_bytes or 0 for run in runs), default=0) or None,
                "failcnt": max((run.failcnt or 0 for run in runs), default=None),
                "disk_bytes_read": spread([run.disk_bytes_read for run in good])}


def add_shares(rows, share_at_least):
    """Share of the physical limit, per run: max(streamed bytes / bandwidth, compute) / measured time of a pass.

    The compute time is the faster side's where everything is resident, so that row itself needs no disk.
    """
    decode = [row for row in rows if row["kind"] == "decode"]
    for row in decode:
        resident = [1 / other[side]["tokens_per_second"]["median"] for other in decode
                    if other["model"] == row["model"] and other["limit_percent"] >= ALL_RESIDENT_PERCENT
                    for side in ("brimful", "llama.cpp") if other[side]["tokens_per_second"]]
        compute = min(resident, default=None)
        row["compute_seconds_per_pass"] = compute
        row["share_at_least"] = share_at_least
        shares, streamed = [], None
        for run in row["runs"]:
            if run["program"] != "brimful" or not run["stats"]:
                continue
            streamed = run["stats"]["weights_bytes"]["streamed_per_pass"] + expert_bytes_per_pass(run["stats"])
            bound = max(streamed / run["disk_bytes_per_second"], compute or 0)
            shares.append(bound / seconds_per_token(run["stats"]))
        row["streamed_bytes_per_pass"] = streamed
        row["share"] = spread(shares)


def expert_bytes_per_pass(stats):
    return stats["experts"]["decode"]["read_bytes_per_token"] if "experts" in stats else 0

"""The simulated card: how it is described to the plug-in, and what it says about a run."""

import json
import statistics

# The reference machine's cores, with DDR4-3600 in two channels, read the weights of a token at this rate.
REFERENCE_CORES = 45e9  # bytes/s
LAUNCH, RECORDED_LAUNCH, COPY_LATENCY = 4e-6, 1.5e-6, 8e-6  # seconds on the real card


class TimedCard:
    """`card`: one of the suite's. `cores`: bytes/s at which this machine's cores read the weights of a token. All times are longer
    than the real card's by one factor, so that they stand to this machine's as the real card's stand to the reference machine's."""

    def __init__(self, card, cores, threads):
        self.card, self.threads = card, threads
        self.stretch = REFERENCE_CORES / cores

    def environment(self, memory, report, computes=False):
        rates = {key: self.card[key] / self.stretch for key in ("memory_rate", "flops", "link_rate", "pageable_rate", "cores_rate", "together_rate")}
        times = {"launch": LAUNCH * self.stretch, "recorded_launch": RECORDED_LAUNCH * self.stretch, "copy_latency": COPY_LATENCY * self.stretch}
        settings = {"description": "timed card", "memory": memory, **{key: f"{value:.6g}" for key, value in (rates | times).items()},
                    "cores": self.threads, "computes": int(computes), "report": report}
        return {"BRIMFUL_TIMED_CARD": ",".join(f"{key}={value}" for key, value in settings.items())}

    def describe_memory(self, machine):
        """Sets what the simulated machine's memory gives to the cores, and to cores and link at once, and the rate of the card's memory,
        which a driver tells of a real card."""
        cores, together = self.card["cores_rate"] / self.stretch, self.card["together_rate"] / self.stretch
        machine["ram"]["read_bytes_per_s"] = cores
        for gpu in machine["gpus"]:
            gpu["memory_bytes_per_s"] = self.card["memory_rate"] / self.stretch
            gpu["copies_beside_reads_bytes_per_s"], gpu["reads_beside_copies_bytes_per_s"] = together - cores, cores

    def real(self, rate):
        """Tokens/s of the reference machine."""
        return rate and rate * self.stretch


def report_of(file):
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def least_seconds(kind, card, stretch, weights, vram, tokens, ubatch, operations):
    """What a pass takes at least, where VRAM holds nothing but weights: for a step, the card reads its part, then cores and link
    together read the other; for a prompt, the link brings what is not there once for each ubatch, or the card multiplies."""
    on_card, on_host = min(vram, weights), max(weights - vram, 0)
    if kind == "prompt":
        passes = -(-tokens // ubatch)
        return stretch * max(passes * on_host / card["link_rate"], operations * tokens / card["flops"])
    return stretch * (on_card / card["memory_rate"] + on_host / card["together_rate"])


def middle(values):
    values = [value for value in values if value]
    return statistics.median(values) if values else None

"""Whether results on a card are right: tokens beside llama.cpp's, the driver's memory, compute-sanitizer."""

import shutil

from gpu_sides import in_common, read_answers, write_requests
from gpu_work import fresh
from model_sizes import MIB, Size

FOUND = 86  # the exit code of compute-sanitizer where it found something
MMAP = {"load_mode": "mmap"}
GROWTH = 2 * MIB  # what a budget leaves for the driver after the start


class Checks:
    """For one of the suite's models."""

    def __init__(self, visit, work, model):
        self.visit, self.work, self.model, self.name = visit, work, model, work["name"]
        self.size = Size(work["layers"], model.stat().st_size, work["vram"], work["ram"])
        self.sides = visit.sides(work, self.size, model)

    def prompt(self, tokens):
        return self.visit.prompt(self.work, self.model, tokens)

    def tokens(self):
        """Beside llama.cpp with everything on the card. With kernels of both card and cores, rounding may change later tokens;
        how many agree between llama.cpp's own card and cores says how soon. The first one must agree: wrong rows would change it."""
        wanted, least = self.work["tokens"], self.work["tokens"] if self.work.get("exact") else 1
        for tokens in self.work["prompts"]:
            what, prompt = f"{self.name}, prompt of {tokens}", self.prompt(tokens)
            peer, _ = self.visit.measure("llama.cpp", self.sides.peer(prompt, 0, MMAP), what, setting="all on the card")
            own, _ = self.visit.measure("brimful", self.sides.brimful(prompt), what)
            common = in_common(ids(own), ids(peer))
            self.visit.check(f"{what}: tokens as llama.cpp on this card", f"{wanted}, at least {least}", common, common >= least)
            if self.work.get("slots"):
                hits = sum(device["hits"] for device in (own.stats or {}).get("device_experts", {}).values())
                self.visit.check(f"{what}: experts found in slots", "some", hits, hits > 0)
        if not self.work.get("exact"):
            cores, _ = self.visit.measure("llama.cpp", self.sides.peer(prompt, 0, MMAP, gpu=False), what, setting="cores")
            self.visit.fact(f"{what}: tokens that llama.cpp's cores and card have in common", f"{in_common(ids(cores), ids(peer))} of {wanted}")

    def together(self):
        """Many sequences twice: the same texts. They begin as llama.cpp's on the card or on the cores: with both, rounding may change a
        first token, too, where two are as likely."""
        together, what = self.work["together"], f"{self.name}, {self.work['together']['sequences']} sequences"
        prompt, requests = self.prompt(together["prompt_tokens"]), self.visit.work / "requests.jsonl"
        write_requests(requests, prompt.read_text(), together)
        texts = []
        for _ in range(2):
            answers = fresh(self.visit.work / "answers.jsonl")
            self.visit.measure("brimful", self.sides.brimful_together(requests, answers), what, together=True)
            texts.append(read_answers(answers))
        peer, _ = self.visit.measure("llama.cpp", self.sides.peer(prompt, 0, MMAP, together=True), what, setting="all on the card", together=True)
        cores, _ = self.visit.measure("llama.cpp", self.sides.peer(prompt, 0, MMAP, gpu=False, together=True), what, setting="cores", together=True)
        others, on_cores, wanted = texts_of(peer), texts_of(cores), together["sequences"]
        same = sum(a == b for a, b in zip(*texts))
        begin = sum(in_common(own, a) > 0 or in_common(own, b) > 0 for own, a, b in zip(texts[0], others, on_cores))
        self.visit.check(f"{what}: the same texts in a second run", wanted, same, same == wanted)
        self.visit.check(f"{what}: texts that begin as llama.cpp's", wanted, begin, begin == wanted)
        self.visit.fact(f"{what}: texts of llama.cpp's cores and card that begin alike",
                        f"{sum(in_common(a, b) > 0 for a, b in zip(others, on_cores))} of {wanted}")
        self.visit.fact(f"{what}: texts that are llama.cpp's as a whole", f"{sum(a == b for a, b in zip(texts[0], others))} of {wanted}")

    def growth(self):
        """The card's memory by NVML with few and with many tokens: nothing may grow after the start."""
        growth, peaks = self.work["growth"], []
        prompt = self.prompt(growth["prompt_tokens"])
        for tokens in growth["tokens"]:
            longer = self.work | {"tokens": tokens, "context": growth["context"]}
            run, _ = self.visit.measure("brimful", self.visit.sides(longer, self.size, self.model).brimful(prompt), f"{self.name}, {tokens} tokens")
            peaks.append(run.vram_peak if run.stats else None)
        known = [peak for peak in peaks if peak is not None]
        if not known:
            return self.visit.leave_out(f"{self.name}: growth of VRAM", "NVML says nothing, or nothing ran")
        shown = ", ".join(f"{peak / MIB:.1f} with {tokens}" for tokens, peak in zip(growth["tokens"], peaks) if peak is not None)
        return self.visit.check(f"{self.name}: VRAM, MiB, by tokens", f"{self.size.vram / MIB:.0f} at most, {GROWTH / MIB:.0f} of growth", shown,
                                len(known) == len(peaks) and max(known[1:] or known) <= self.size.vram and known[-1] - known[0] <= GROWTH)

    def sanitize(self):
        """memcheck over a prompt and some steps, where it is installed and knows the card."""
        program = shutil.which("compute-sanitizer")
        if program is None:
            return self.visit.fact("compute-sanitizer", "missing: nothing was checked")
        options = self.work["sanitizer"]
        log = self.visit.output / "sanitizer.txt"
        sides = self.visit.sides(self.work | {"tokens": options["tokens"]}, self.size, self.model)
        command = [program, "--tool", "memcheck", "--target-processes", "all", "--error-exitcode", FOUND, "--log-file", log,
                   *sides.brimful(self.prompt(options["prompt_tokens"]))]
        run, _ = self.visit.measure("brimful", command, f"{self.name}, under compute-sanitizer", most=options["seconds"])
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        said = next((line.strip("= ") for line in reversed(lines) if "ERROR SUMMARY" in line), run.failure or "no summary")
        return self.visit.check("compute-sanitizer", "0 errors", said, "SUMMARY: 0 errors" in said)


def ids(outcome):
    return outcome.stats["token_ids"] if outcome.stats else []


def texts_of(outcome):
    return outcome.stats.get("texts", []) if outcome.stats else []

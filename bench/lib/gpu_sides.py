"""The command lines of Brimful and of llama.cpp for work on one model with a GPU, and what their statistics say."""

import json

from measure import tokens_per_second

ALL_LAYERS = 999
FIRST_GUESS_OF_REST = 1 << 30  # of VRAM: what is no layer


class Sides:
    """`work` is one of the suite's, `size` what fits of it, `model` its file. `extra`: more flags."""

    def __init__(self, programs, work, size, model, threads, io):
        self.programs, self.work, self.size, self.model, self.threads, self.io = programs, work, size, model, threads, io

    def _shape(self, work):
        return ["-t", self.threads, "-c", work["context"], "-ub", work["ubatch"]]

    def _budgets(self):
        return ["--ram", self.size.ram, "--vram", self.size.vram, "--io", self.io]

    def brimful(self, prompt, extra=()):
        return [self.programs / "brimful", "run", "-m", self.model, "-f", prompt, "-n", self.work["tokens"], *self._shape(self.work),
                "-b", self.work["ubatch"], "--raw", "--temp", 0, "--ignore-eos", "--spec-type", "none", *self._budgets(), *extra]

    def brimful_together(self, requests, answers, extra=()):
        together = self.work["together"]
        return [self.programs / "brimful", "batch", "-m", self.model, "-i", requests, "-o", answers,
                "--max-num-seqs", together["sequences"], *self._shape(together), *self._budgets(), *extra]

    def forecast(self, hardware, extra=(), together=False):
        """`brimful plan` for the same work. Of many requests -c is the context of each, which must hold a ubatch."""
        work = self.work["together"] if together else self.work
        context = work["context"] // work.get("sequences", 1)
        return [self.programs / "brimful", "plan", self.model, "--hardware", hardware, "--json", "-c", context, "-ub", min(work["ubatch"], context),
                "--vram", self.size.vram, "--ram", self.size.ram, "--prompt-tokens", work["prompt_tokens"],
                *(["--for", f"batch:{work['sequences']}"] if together else []), *extra]

    def peer(self, prompt, on_host, setting, gpu=True, together=False, tokens=None):
        """`on_host`: how many layers, or layers whose experts, stay there."""
        work = self.work["together"] if together else self.work
        command = [self.programs / "brimful-llama-peer", "-m", self.model, "-f", prompt, "-n", tokens or work["tokens"],
                   *self._shape(work), "-b", work["ubatch"], "--load-mode", setting["load_mode"], "--repack", setting.get("repack", "off"),
                   "--sequences", work.get("sequences", 1), "--back-ends", self.programs / "back-ends"]
        if not gpu:
            command += ["-ngl", 0]
        elif self.work["peer_keeps"] == "layers":
            command += ["-ngl", ALL_LAYERS if on_host == 0 else max(self.size.layers - on_host, 0)]
        else:
            command += ["-ngl", ALL_LAYERS, "--n-cpu-moe", on_host]
        return command + [flag for flag in ("--no-host", "--no-op-offload") if setting.get(flag)]


def name_of(setting):
    return ", ".join(str(value) for value in setting.values())


def write_requests(file, text, together):
    """One for each sequence: the text and a number of its own, as a word: brimful-llama-peer adds the same tokens."""
    body = {"max_tokens": together["tokens"], "temperature": 0, "ignore_eos": True}
    file.write_text("".join(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/completions",
                                        "body": {**body, "prompt": f"{text} {i}"}}) + "\n"
                            for i in range(together["sequences"])))


def read_answers(file):
    """The texts in the order of the requests; an empty list where there are none."""
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    texts = {int(line["custom_id"]): line["response"]["body"]["choices"][0]["text"] for line in lines}
    return [texts[i] for i in sorted(texts)]


def figures(outcome, together=False):
    """Tokens/s by kind of work; {} where it failed."""
    if outcome.stats is None:
        return {}
    if together:
        return {"together": tokens_per_second("together", outcome)}
    return {kind: tokens_per_second(kind, outcome) for kind in ("decode", "prompt")}


def fewest_on_host(layers, layer_bytes, budget, peak_with):
    """The fewest layers on the host with which llama.cpp keeps `budget` bytes of VRAM: found along a line. `peak_with(n)` runs it
    and returns its peak, or None where it failed."""
    tried, guess = {}, layers - int(max(budget - FIRST_GUESS_OF_REST, 0) / layer_bytes)
    while True:
        guess = min(max(guess, 0), layers)
        if guess in tried:
            break
        peak = peak_with(guess)
        tried[guess] = peak is not None and peak <= budget
        if tried[guess]:
            guess -= max(1, int((budget - peak) / layer_bytes))
        else:
            guess += max(1, -int((budget - (peak or budget + layer_bytes)) // layer_bytes))
    return min((on_host for on_host, fits in tried.items() if fits), default=layers)


def in_common(one, other):
    """How many items both begin with."""
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))

"""One kind of work on one model: what is expected, then Brimful and llama.cpp in turns."""

import json
from pathlib import Path

from gpu_sides import fewest_on_host, name_of, write_requests
from journal import read
from measure import say
from model_sizes import MIB, size_of
from report import number

WRITTEN_DOWN = Path(__file__).resolve().parents[1] / "gpu" / "expected-h200.json"


def variants_of(work):
    """Brimful's flags by the name of the line; the first is without any."""
    name = work["name"]
    return {name: []} | {f"{name}, {variant}": flags for variant, flags in work.get("variants", {}).items()}


def figures_of(work, name):
    return ["decode", "prompt"] + (["together"] if "together" in work and name == work["name"] else [])


def forecast_of(sides, hardware, figure, extra, text_of):
    """Tokens/s by `brimful plan`; None where it makes none."""
    answer = text_of(*sides.forecast(hardware, extra, together=figure == "together"))
    try:
        plan = json.loads(answer)
        return plan["prompt_tokens_per_second" if figure == "prompt" else "decode_tokens_per_second"]
    except (ValueError, KeyError):
        say(f"    no forecast: {answer}")
        return None


def written_down(card):
    """Expected tokens/s by line, from before the visit, for this card; {} for others."""
    known = json.loads(WRITTEN_DOWN.read_text())
    return known["tokens_per_second"] if card == known["card"] else {}


def fresh(file):
    """The name of a file that is not there, nor what a batch keeps beside it."""
    for old in file.parent.glob(file.name + "*"):
        old.unlink()
    return file


class Work:
    def __init__(self, visit, work):
        self.visit, self.work, self.name = visit, work, work["name"]
        self.variants = variants_of(work)
        self.expected = {}  # tokens/s by line

    def measure(self):
        say(f"==> {self.name}")
        self.size = size_of(self.work, self.visit.machine())
        if self.size is None:
            self.visit.leave_out(self.name, "card, RAM and room for models do not hold one layer of it")
            return
        self.model = self.visit.model(self.work, self.size.layers)
        if self.model is None:
            return
        self.sides = self.visit.sides(self.work, self.size, self.model)
        self.prompt = self.visit.prompt(self.work, self.model, self.work["prompt_tokens"])
        together = self.work.get("together")
        if together:
            self.short = self.visit.prompt(self.work, self.model, together["prompt_tokens"])
        self._expect()
        on_host = self._peers_share()
        settings, settings_together = self.work["peer_settings"], together and together["peer_settings"]
        for repetition in range(1, self.work["repetitions"] + 1):
            settings = self._turn(repetition, on_host, settings)
            if together:
                settings_together = self._turn(repetition, on_host, settings_together, together=True)
        self._check_budgets()

    def _expect(self):
        """Writes down what is expected, before anything is measured."""
        hardware = self.visit.hardware(self.work, self.model)
        known = written_down(self.visit.gpu.name() if self.visit.gpu else None)
        for name, extra in self.variants.items():
            for figure in figures_of(self.work, name):
                line = f"{name}: {figure}"
                forecast = forecast_of(self.sides, hardware, figure, extra, self.visit.text_of) if hardware else None
                self.expected[line] = known.get(line) or forecast
                say(f"    {line}: tokens/s expected {number(known.get(line))}, by a forecast here {number(forecast)}")
                self.visit.write("expected", line=line, work=self.name, forecast=forecast, written_down=known.get(line),
                                 ratio=self.work["ratios"].get(figure), layers=self.size.layers, by_layer=self.work.get("by_layer", False),
                                 bytes=self.model.stat().st_size, vram=self.size.vram, ram=self.size.ram)

    def _peers_share(self):
        """How many layers llama.cpp keeps on the host, so that it takes as much VRAM as Brimful may. All, where nobody can tell."""
        if self.visit.gpu is None:
            return self.size.layers

        def peak_with(on_host):
            command = self.sides.peer(self.prompt, on_host, {"load_mode": "mmap"}, tokens=2)
            outcome, _ = self.visit.measure("llama.cpp", command, f"{self.name}, {on_host} of {self.size.layers} on the host", setting="peak")
            return outcome.vram_peak if outcome.stats else None
        return fewest_on_host(self.size.layers, self.work["layer_bytes"], self.size.vram, peak_with)

    def _turn(self, repetition, on_host, settings, together=False):
        """Brimful once, then llama.cpp once with each setting. Returns the settings that were the best for something."""
        common = {"repetition": repetition, "together": together}
        for name, extra in self.variants.items():
            if together and name != self.name:
                continue
            command = self._together() if together else self.sides.brimful(self.prompt, extra)
            expected = {figure: self.expected.get(f"{name}: {figure}") for figure in figures_of(self.work, name)}
            self.visit.measure("brimful", command, name, expected=expected, **common)
        found = {}
        for setting in settings:
            command = self.sides.peer(self.short if together else self.prompt, on_host, setting, together=together)
            _, found[name_of(setting)] = self.visit.measure("llama.cpp", command, self.name, setting=name_of(setting), on_host=on_host, **common)
        best = {max(found, key=lambda name: found[name].get(figure, 0)) for rates in found.values() for figure in rates}
        return [setting for setting in settings if name_of(setting) in best]

    def _together(self):
        requests, answers = self.visit.work / "requests.jsonl", fresh(self.visit.work / "answers.jsonl")
        write_requests(requests, self.short.read_text(), self.work["together"])
        return self.sides.brimful_together(requests, answers)

    def _check_budgets(self):
        """A model's first start guesses what the driver takes and may pass the budget of VRAM for a moment: later ones count."""
        for name in self.variants:
            runs = [record for record in read(self.visit.output) if record["kind"] == "run" and record["side"] == "brimful" and
                    record["work"] == name and record["call"] == self.visit.number]
            for tier, budget in (("vram", self.size.vram), ("ram", self.size.ram)):
                peaks = [run[f"{tier}_peak"] for run in runs if run[f"{tier}_peak"] is not None]
                if peaks:
                    self.visit.check(f"{name}: peaks of {tier.upper()}, MiB, the first start's before the others'", f"{budget / MIB:.0f} at most",
                                     ", ".join(f"{peak / MIB:.0f}" for peak in peaks), max(peaks[1:] or peaks) <= budget)

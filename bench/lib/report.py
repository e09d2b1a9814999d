"""Turns measured rows into Markdown, JSON and an SVG plot."""

import json
import tempfile
from pathlib import Path
from html import escape

GB = 1e9
SIDES = (("brimful", "#2a78d6"), ("llama.cpp", "#b0b0b0"))


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def with_spread(s, digits=2):
    return "-" if not s else f"{s['median']:.{digits}f} ({s['min']:.{digits}f}..{s['max']:.{digits}f})"


def missed(row):
    """The targets this row did not reach. Judged on medians."""
    out = []
    for what in ("ratio", "share"):
        target, value = row.get(f"{what}_at_least"), row.get(what)
        if target is not None and (value is None or value["median"] < target):
            out.append(f"{what} {number(value and value['median'])} < {target}")
    target, value = row.get("read_per_missed_at_most"), row.get("read_per_missed")
    if target is not None and value and value["median"] > target:
        out.append(f"read/missed {number(value['median'], 3)} > {target}")
    return out


def settings(row):
    peer = row["peer_settings"]
    if not peer:
        return "none survived"
    return peer["load_mode"] + (", repacked" if peer["repack"] == "on" else ", plain")


def runs_a_side(row):
    return sum(run["program"] == "brimful" for run in row["runs"])


def table(header, lines):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


def _verdict(row):
    notes = row["problems"] + missed(row)
    if notes:
        return "**" + "; ".join(notes) + "**"
    judged = any(row.get(key) is not None for key in ("ratio_at_least", "share_at_least", "read_per_missed_at_most"))
    return "reached" if judged else "ok"


def _decode_line(row):
    brimful, peer, bandwidth = row["brimful"], row["llama.cpp"], row["disk_bytes_per_second"]
    streamed, read = row.get("streamed_bytes_per_pass"), peer["disk_bytes_read"]
    return [row["model"], f"{row['limit_percent']}%", str(runs_a_side(row)),
            with_spread(brimful["tokens_per_second"]), with_spread(peer["tokens_per_second"]), settings(row),
            with_spread(row["ratio"]), with_spread(row.get("share")), number(row["ratio_at_least"], 1),
            number(streamed / GB if streamed is not None else None),
            number(bandwidth and bandwidth["median"] / GB),
            number(brimful["peak_bytes"] and brimful["peak_bytes"] / row["limit_bytes"] * 100, 1), str(brimful["failcnt"]),
            number(brimful["load_seconds"] and brimful["load_seconds"]["median"], 1),
            number(read and read["median"] / GB, 1), _verdict(row)]


def _experts_line(row):
    return [row["model"], f"{row['limit_percent']}%", with_spread(row["expert_hit_rate"], 3),
            number(row["streamed_bytes_per_pass"] / GB, 3), with_spread(row["read_per_missed"], 3), _verdict(row)]


def _prompt_line(row):
    return [row["model"], f"{row['limit_percent']}%", str(runs_a_side(row)), with_spread(row["brimful"]["tokens_per_second"]),
            with_spread(row["llama.cpp"]["tokens_per_second"]), settings(row), with_spread(row["ratio"]),
            number(row["ratio_at_least"], 1), str(row["brimful"]["failcnt"]), _verdict(row)]


def markdown(result):
    machine = result["machine"]
    models = {row["model"]: row for row in result["rows"]}
    sizes = ", ".join(f"{name} ({row['model_bytes'] / GB:.2f} GB)" for name, row in models.items())
    computes = ", ".join(f"{name} {row['compute_seconds_per_pass']:.3f} s" for name, row in models.items()
                         if row.get("compute_seconds_per_pass"))
    parts = [f"# Benchmark `{result['suite']}`", "",
             f"{sizes}; "
             f"{machine['cpu']}, {machine['cores']} cores, "
             f"{machine['threads']} threads, Linux {machine['kernel']}. {result['date']}. "
             f"{'; '.join(result['versions'])}.", "",
             "Median (min..max) of interleaved runs, as many a side as the table says, each with a cold page cache, inside a "
             "memory cgroup whose limit is the given share of the model's file."
             + (f" Compute time of a pass, all resident: {computes}." if computes else ""), ""]
    experts = [row for row in result["rows"] if "expert_hit_rate" in row]
    for kind, title, header, line in (
            ("decode", "## Decode",
             ["model", "limit", "runs", "brimful tok/s", "llama.cpp tok/s", "its settings", "ratio", "share of the limit",
              "ratio wanted", "streamed GB/pass", "disk GB/s", "brimful peak %", "failcnt", "load s",
              "llama.cpp read GB", "verdict"], _decode_line),
            ("prompt", "## Prompt",
             ["model", "limit", "runs", "brimful tok/s", "llama.cpp tok/s", "its settings", "ratio", "ratio wanted", "failcnt",
              "verdict"], _prompt_line)):
        rows = [row for row in result["rows"] if row["kind"] == kind]
        if rows:
            parts += [title, "", table(header, [line(row) for row in rows]), ""]
    if experts:
        header = ["model", "limit", "hit rate", "read GB/pass", "read/missed", "verdict"]
        parts += ["## Experts", "", table(header, [_experts_line(row) for row in experts]), ""]
    return "\n".join(parts)


def svg(result):
    """Grouped bars, one panel a kind: height is tokens/s, the line on top the spread, the figure above both the ratio."""
    panel_width, height, top, base = 420, 300, 60, 250
    panels = list(dict.fromkeys((row["kind"], row["model"]) for row in result["rows"]))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {panel_width * len(panels)} {height}" '
           'font-family="sans-serif" font-size="12" text-anchor="middle">',
           '<rect width="100%" height="100%" fill="white"/>']
    for panel, (kind, model) in enumerate(panels):
        rows = [row for row in result["rows"] if (row["kind"], row["model"]) == (kind, model)]
        left = panel * panel_width
        rates = [row[side]["tokens_per_second"] for row in rows for side, _ in SIDES]
        peak = max((rate["max"] for rate in rates if rate), default=1)
        out.append(f'<text x="{left + panel_width / 2}" y="20" font-size="14">{kind}, tokens/s by memory limit, '
                   f'{escape(model)}</text>')
        out.append(f'<path d="M{left + 20} {base}H{left + panel_width - 20}" stroke="black"/>')
        slot = (panel_width - 40) / len(rows)
        bar = min(slot / 3, 40)
        for i, row in enumerate(rows):
            middle = left + 20 + slot * (i + 0.5)
            tallest = 0
            for j, (side, colour) in enumerate(SIDES):
                rate = row[side]["tokens_per_second"]
                if not rate:
                    continue
                x = middle + (j - 1) * bar
                y = {key: (base - top) * value / peak for key, value in rate.items()}
                tallest = max(tallest, y["max"])
                out.append(f'<rect x="{x:.1f}" y="{base - y["median"]:.1f}" width="{bar - 2:.1f}" '
                           f'height="{y["median"]:.1f}" fill="{colour}"/>')
                centre = x + bar / 2 - 1
                out.append(f'<path d="M{centre:.1f} {base - y["min"]:.1f}V{base - y["max"]:.1f}" stroke="black"/>')
                out.append(f'<text x="{centre:.1f}" y="{base - y["max"] - 3:.1f}" font-size="9">{rate["median"]:.2f}</text>')
            ratio = f'{row["ratio"]["median"]:.1f}x' if row["ratio"] else "failed"
            out.append(f'<text x="{middle:.1f}" y="{base - tallest - 16:.1f}">{ratio}</text>')
            out.append(f'<text x="{middle:.1f}" y="{base + 16}">{row["limit_percent"]}%</text>')
    for j, (side, colour) in enumerate(SIDES):
        out.append(f'<rect x="{20 + j * 100}" y="{height - 22}" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{36 + j * 100}" y="{height - 12}" text-anchor="start">{escape(side)}</text>')
    return "\n".join(out + ["</svg>", ""])


def write(result, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(markdown(result))
    text = json.dumps(result, indent=1, default=str)
    for here in (f"{Path.cwd()}/", f"{tempfile.gettempdir()}/"):  # whose machine it was is nobody's business
        text = text.replace(here, "")
    (folder / "results.json").write_text(text + "\n")
    (folder / "results.svg").write_text(svg(result))

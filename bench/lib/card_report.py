"""Results of bench/card as JSON and as a table."""

import json

from report import number

MIB = 1 << 20


def shown(row):
    ours, theirs = row["as_on_the_real_machine"]["brimful"], row["as_on_the_real_machine"]["llama.cpp"]
    spread = {side: f"{number(min(values))}..{number(max(values))}" for side, values in row["tokens_per_second"].items() if all(values)}
    card = row["card"]["brimful"] or {}
    peer = ", ".join(f"{key} {value}" for key, value in row["peer"].items())
    return (f"| {row['work']} | {row['kind']} | {number(ours)} | {number(theirs)} | {number(row['ratio'])} | {number(row['ratio_wanted'])} | "
            f"{number(row.get('share_of_limit'))} | {spread.get('brimful', '-')} / {spread.get('llama.cpp', '-')} | {card.get('waits', '-')} | "
            f"{(card.get('bytes_to_card', 0)) / MIB:.0f} | {'yes' if row['same_tokens'] else 'NO'} | {peer} |")


def shown_long(row):
    rates = row["as_on_the_real_machine"]
    return (f"| {row['work']} | {row['kind']} | {row['vram'] / MIB:.0f} | " + ", ".join(f"{filled}: {number(rate)}" for filled, rate in rates.items()) +
            f" | {number(row['share'])} | {number(row['share_wanted'])} |")


def write(suite, card, rows, seconds, folder, scratch):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {suite['cards'][card]['description']}: simulated", "",
             "Written by `bench/card`; [docs/timed-card.md](../../../docs/timed-card.md) says what is simulated. Tokens/s as on the real machine; the",
             f"spread is that of this machine's clock. {seconds:.0f} s.", "",
             "| model | work | Brimful | llama.cpp | ratio | wanted | share of the limit | spread here | waits | MiB to the card | same tokens | llama.cpp's settings |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    lines += [shown(row) for row in rows if "peer" in row]
    long_rows = [row for row in rows if "share" in row]
    if long_rows:
        lines += ["", "Decoding behind few and behind many tokens of one context, Brimful alone. The share is that of the rate behind few.", "",
                  "| model | work | MiB of VRAM | tokens/s by tokens before | share | wanted |", "|---|---|---|---|---|---|"]
        lines += [shown_long(row) for row in long_rows]
    (folder / "results.md").write_text("\n".join(lines) + "\n")
    text = json.dumps({"card": suite["cards"][card], "rows": rows}, indent=1, default=str).replace(f"{scratch}/", "")
    (folder / "results.json").write_text(text + "\n")

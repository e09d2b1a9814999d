"""How large a model may be on a machine: from what its card, its RAM and the place for models hold. Pure."""

from dataclasses import dataclass

MIB, GIB = 1 << 20, 1 << 30
LEFT_ON_CARD = 512 * MIB  # for what else the card does
NO_WEIGHTS_IN_VRAM = 1280 * MIB  # driver, buffers, KV cache, ring
NO_WEIGHTS_IN_RAM = 4 * GIB  # program, buffers, KV cache of the host's layers
SHARE_OF_RAM = 0.88  # the rest is for the system and for what the driver pins


@dataclass(frozen=True)
class Machine:
    vram_free: int | None  # of the first card; None: nobody can tell
    ram: int  # all of it, or the limit of a container
    room: int  # for models, where they lie
    in_memory: bool  # whether that place is RAM


@dataclass(frozen=True)
class Size:
    layers: int
    bytes: int  # of the model's file, about
    vram: int  # budget
    ram: int  # budget


def size_of(model, machine):
    """The largest size up to `model["layers"]` that fits; None where not even one layer does. Where the card holds less than
    `model["vram"]`, the model shrinks with the budget, so that the same share of it lies on the card."""
    vram = model["vram"]
    if machine.vram_free is not None:
        vram = min(vram, (machine.vram_free - LEFT_ON_CARD) // MIB * MIB)
    if vram <= 0:
        return None
    for layers in range(max(1, round(model["layers"] * vram / model["vram"])), 0, -1):
        size = int(model["other_bytes"] + layers * model["layer_bytes"])
        on_card = max(vram - NO_WEIGHTS_IN_VRAM, 0)
        ram = max(size - on_card, 0) + NO_WEIGHTS_IN_RAM
        if size <= machine.room and ram + (size if machine.in_memory else 0) <= machine.ram * SHARE_OF_RAM:
            return Size(layers, size, vram, ram)
    return None

"""What is cached, the two ways to read it, and how much a token takes."""

from __future__ import annotations

from papers.tools.drawing.parts import Kind, block
from papers.tools.drawing.sheet import Sheet, path
from papers.tools.drawing.wires import arrow
from papers.transformers.kv_cache import cache_bytes
from papers.transformers.latent_attention import latent_bytes

KIB = 1024
ROWS: tuple[tuple[str, Kind, int], ...] = (
    ("32 heads", "plain", cache_bytes(32, 32, 128)),
    ("8 groups", "plain", cache_bytes(32, 8, 128)),
    ("latents", "idea", latent_bytes(32, 512, 64)),
    ("one head", "plain", cache_bytes(32, 1, 128)),
)


def flow(sheet: Sheet) -> None:
    y = 40.0
    sheet.text("x", (12, y))
    compress = block(sheet, "linear", "compress", (76, y), 92, link="compressing")
    arrow(sheet, (19, y), compress.left)
    cache = block(sheet, "idea", "latents", (202, y), 92, 34, link="the-cache", depth=3)
    turned = block(sheet, "idea", "turned", (308, y), 78, 34, link="the-cache", depth=3)
    arrow(sheet, compress.right, cache.left)
    arrow(sheet, compress.bottom, (76, 74), (308, 74), turned.bottom)

    top = 132.0
    expanded = block(sheet, "attention", "expanded", (104, top), 108, link="expanded")
    absorbed = block(sheet, "attention", "absorbed", (282, top), 108, link="absorbed")
    keys = block(sheet, "linear", "k, v", (56, top + 56), 76, note="all heads", height=40)
    queries = block(sheet, "linear", "q", (143, top + 56), 76, note="as it is", height=40)
    same = block(sheet, "linear", "latents", (235, top + 56), 96, note="as they are", height=40)
    inward = block(sheet, "linear", "q", (323, top + 56), 66, note="up_key", height=40)
    for below, above in (
        (keys, expanded),
        (queries, expanded),
        (same, absorbed),
        (inward, absorbed),
    ):
        x = below.top[0]
        arrow(sheet, below.top, (x, above.bottom[1] + 12), (x, above.bottom[1] + 1))


def sizes(sheet: Sheet) -> None:
    top, left, scale = 252.0, 84.0, 218 / (512 * KIB)
    with sheet.link("what-the-cache-holds"):
        sheet.text("KiB for each token", (left, top - 18), "note", "start")
    for number, (name, kind, size) in enumerate(ROWS):
        y = top + number * 21
        sheet.text(name, (left - 8, y + 7), "name", "end")
        with sheet.group(kind):
            place = {"x": left, "y": y, "width": size * scale, "height": 14.0}
            sheet.add("rect", class_="cell", fill_opacity=0.55, **place)
            line = path("M", left, y, "h", size * scale, "v", 14, "h", -size * scale, "z")
            sheet.add("path", class_="rule", d=line)
        sheet.text(f"{size // KIB}", (left + size * scale + 7, y + 7), "size", "start")


def draw() -> Sheet:
    sheet = Sheet(340)
    flow(sheet)
    sizes(sheet)
    return sheet

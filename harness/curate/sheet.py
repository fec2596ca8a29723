"""A contact sheet of a sub-type manifest: the doubtful images first, then some of every type."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from harness.curate.derive import ColourRule, Proposal
from harness.data.images import decode
from harness.data.samples import Sample, Split
from harness.data.subtypes import Entry
from harness.errors import DataError

TILE = 160  # pixels of the longer side of a picture
CAPTION = 26
PER_ROW = 10
DOUBTFUL = 40  # shown at most


def review_sheet(
    split: Split, proposal: Proposal, recipe: ColourRule, out: Path, per_type: int = PER_ROW
) -> None:
    """Write a PNG with one row of doubtful images after the other, then one of every type and split.

    Raises:
        DataError: an image cannot be decoded, or the sheet cannot be written.
    """
    entries = proposal.manifest.categories[split.category]
    samples = {s.id: s for s in split.train + split.validation + split.test}
    rows = [("ambiguous", [samples[i] for i in proposal.ambiguous[:DOUBTFUL]])]
    for subtype in proposal.sizes:
        for name, group in (("train", split.train), ("test", split.test)):
            rows.append((f"{subtype}, {name}", _spread(group, entries, subtype, per_type)))
    tiles = [(title, _tile(s, entries[s.id], recipe)) for title, group in rows for s in group]
    _save(_lay_out(tiles), out)


def _spread(group: Sequence[Sample], entries: Mapping[str, Entry], subtype: str, n: int) -> list[Sample]:
    found = [s for s in group if entries[s.id].subtype == subtype]
    picks = np.unique(np.linspace(0, len(found) - 1, min(n, len(found))).round().astype(int))
    return [found[i] for i in picks]


def _tile(sample: Sample, entry: Entry, recipe: ColourRule) -> Image.Image:
    picture = Image.fromarray(decode(sample.path, sample.rule))
    scale = TILE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    draw = ImageDraw.Draw(picture)
    for number, (x0, y0, x1, y1) in enumerate(recipe.regions):
        corner = (x0 * picture.width, y0 * picture.height)
        other = (max(x1 * picture.width - 1, corner[0]), max(y1 * picture.height - 1, corner[1]))
        draw.rectangle((corner, other), outline="cyan" if number == 0 else "gray")
    tile = Image.new("RGB", (TILE, TILE + CAPTION), "white")
    tile.paste(picture, ((TILE - picture.width) // 2, 0))
    where = "/".join(Path(sample.id).with_suffix("").parts[-2:])
    text = f"{entry.subtype} {entry.margin}{' ?' if entry.ambiguous else ''}\n{where[-26:]}"
    ImageDraw.Draw(tile).multiline_text((2, TILE), text, fill="black", spacing=1, font_size=11)
    return tile


def _lay_out(tiles: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    titles = list(dict.fromkeys(title for title, _ in tiles))
    blocks = [(title, [tile for name, tile in tiles if name == title]) for title in titles]
    high = sum(18 + -(-len(block) // PER_ROW) * (TILE + CAPTION) for _, block in blocks)
    sheet = Image.new("RGB", (PER_ROW * TILE, max(high, 1)), "white")
    top = 0
    for title, block in blocks:
        ImageDraw.Draw(sheet).text((4, top + 2), title, fill="black", font_size=13)
        for n, tile in enumerate(block):
            sheet.paste(tile, (n % PER_ROW * TILE, top + 18 + n // PER_ROW * (TILE + CAPTION)))
        top += 18 + -(-len(block) // PER_ROW) * (TILE + CAPTION)
    return sheet


def _save(sheet: Image.Image, out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out)
    except (OSError, ValueError) as error:
        raise DataError(f"{out}: the sheet cannot be written ({error})") from error

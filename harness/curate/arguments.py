"""The command line of `python -m harness.data`."""

import argparse

from harness.addresses import local


def parser() -> argparse.ArgumentParser:
    """The parser of the seven commands."""
    root = argparse.ArgumentParser(
        prog="python -m harness.data", description="Draw, check and describe data sets."
    )
    commands = root.add_subparsers(dest="command", required=True)
    _demo(commands.add_parser("demo", help="draw the procedural demo data set"))
    _sketch(commands.add_parser("sketch", help="draw a tiny copy of the layout of any data set, to try it"))
    _check(commands.add_parser("check", help="validate a data set: counts, and what is wrong or missing"))
    _subtypes(commands.add_parser("subtypes", help="propose product types (sub-categories) by colour"))
    _partmasks(commands.add_parser("partmasks", help="propose part labels, and which images to label"))
    _labels(commands.add_parser("labels", help="part labels: how parts are called, and how often"))
    _segments(
        commands.add_parser("segments", help="label maps of all images by another tool: are they whole")
    )
    return root


def _demo(command: argparse.ArgumentParser) -> None:
    command.add_argument("out", type=local, metavar="OUT", help="folder of the data set; created")
    command.add_argument("--size", type=int, help="shorter image side in pixels (default 256)")
    for split in ("train", "validation", "good", "logical", "structural"):
        command.add_argument(f"--{split}", type=int, metavar="N", help=f"{split} images per category")
    command.add_argument("--categories", nargs="+", metavar="NAME", help="only these categories")
    command.add_argument("--seed", type=int, metavar="S", help="seed of the data set (default 0)")
    command.add_argument("--workers", type=int, metavar="W", help="processes (default: one per core)")
    command.add_argument("--preview", type=local, metavar="SHEET.png", help="write a contact sheet")


def _sketch(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", help="a data set of `harness.list datasets`")
    command.add_argument("out", type=local, metavar="OUT", help="folder of the sketch; created")
    command.add_argument("--categories", nargs="+", default=[], metavar="NAME", help="only these categories")
    command.add_argument("--train", type=int, default=6, metavar="N", help="training images per category")
    command.add_argument(
        "--test", type=int, default=3, metavar="N", help="images of each other kind per category"
    )


def _check(command: argparse.ArgumentParser) -> None:
    _where(command)
    command.add_argument(
        "--deep",
        action="store_true",
        help="decode every image; its range of values",
    )
    command.add_argument(
        "--archive", type=local, metavar="FILE", help="compare a downloaded archive's sha256"
    )


def _subtypes(command: argparse.ArgumentParser) -> None:
    _where(command)
    command.add_argument("--category", required=True, help="a whole category, e.g. juice_bottle")
    command.add_argument(
        "--out", type=local, required=True, metavar="FILE", help="manifest; other categories in it are kept"
    )
    command.add_argument("--region", type=_region, action="append", default=[], metavar="X0,Y0,X1,Y1",
                         help="fractions of width and height; may be repeated: the first decides, the others "
                         "are looked at where its colour fits no type")  # fmt: skip
    command.add_argument("--k", type=int, help="number of product types (default 3)")
    command.add_argument("--names", type=_names, metavar="A,B,C", help="names in the order of hue")
    command.add_argument("--pixels", choices=("all", "chromatic"), help="pixels of the region that count")
    command.add_argument("--seed", type=int, default=0, help="of k-means")
    command.add_argument("--preview", type=local, metavar="PNG", help="write a contact sheet for review")
    command.add_argument("--check", action="store_true", help="compare with PSAD's grouping of LOCO")


def _partmasks(command: argparse.ArgumentParser) -> None:
    _where(command)
    command.add_argument("--category", required=True, help="a category or sub-type")
    command.add_argument("--out", type=local, required=True, metavar="DIR", help="use it as `labels_dir`")
    command.add_argument(
        "--method",
        default="clip_lad",
        help="what segments (default clip_lad); `none` only picks images to label",
    )
    command.add_argument(
        "--param", action="append", default=[], metavar="KEY=VALUE", help="hyper-parameter of the method"
    )
    command.add_argument(
        "--shots", type=_shots, default=4, help="images it is fitted to, or `full` (default 4)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the draw and of the method")
    command.add_argument(
        "--pick", type=int, metavar="N", help="images to label (default: 5, or one per sub-type)"
    )


def _labels(command: argparse.ArgumentParser) -> None:
    check = command.add_subparsers(dest="what", required=True).add_parser(
        "check", help="list names with counts, and what cannot be read or looks like a mistake"
    )
    check.add_argument("folder", type=local, metavar="DIR", help="`labels_dir`, or the folder of a category")
    check.add_argument("--category", nargs="+", default=[], metavar="NAME", help="only these categories")
    check.add_argument("--write", action="store_true", help="declare the names in labels.yaml")


def _segments(command: argparse.ArgumentParser) -> None:
    _where(command)
    command.add_argument("maps", type=local, metavar="DIR", help="folder of label maps: `segments_dir`")
    command.add_argument("--category", nargs="+", default=[], metavar="NAME", help="only these categories")


def _shots(text: str) -> int | None:
    if text == "full":
        return None
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 1 on nor `full`")
    return int(text)


def _where(command: argparse.ArgumentParser) -> None:
    command.add_argument("root", type=local, metavar="ROOT", help="folder of the data set")
    command.add_argument("--dataset", metavar="NAME", help="what to read it as (default: guessed)")
    command.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="option of the data set"
    )


def _region(text: str) -> tuple[float, ...]:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not x0,y0,x1,y1") from None
    return x0, y0, x1, y1


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

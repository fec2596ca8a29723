import json
from pathlib import Path

import pytest

from harness.data.fewshot import RULES, draw, torch_randperm
from harness.data.samples import Sample
from harness.errors import DataError

WHERE = {"dataset": "mvtec_loco", "category": "juice_bottle"}

# torch.manual_seed(seed); torch.randperm(n)[:8] for the three seeds of the VAND 3.0 (CVPR 2025) few-shot
# protocol on MVTec LOCO AD; splicing_connectors has as many images as screw_bag
VAND = {
    ("breakfast_box", 351): {
        42: [330, 318, 140, 169, 283, 180, 211, 51],
        0: [107, 340, 160, 231, 294, 284, 28, 166],
        1234: [222, 0, 137, 212, 99, 187, 288, 16],
    },
    ("juice_bottle", 335): {
        42: [37, 140, 252, 125, 63, 70, 60, 75],
        0: [334, 242, 58, 55, 322, 74, 131, 246],
        1234: [55, 140, 86, 152, 273, 129, 159, 320],
    },
    ("pushpins", 372): {
        42: [174, 24, 178, 52, 158, 56, 184, 356],
        0: [80, 298, 95, 135, 247, 1, 193, 275],
        1234: [27, 194, 308, 140, 64, 106, 132, 62],
    },
    ("screw_bag", 360): {
        42: [222, 27, 96, 253, 274, 35, 160, 172],
        0: [44, 173, 113, 138, 235, 214, 19, 7],
        1234: [15, 149, 228, 323, 288, 144, 84, 269],
    },
}


def samples(n: int, subtypes: tuple[str, ...] = ()) -> tuple[Sample, ...]:
    def subtype(i):
        return subtypes[i % len(subtypes)] if subtypes else None

    ids = [f"train/good/{i:03d}.png" for i in range(n)]
    return tuple(Sample(name, Path("/x") / name, subtype=subtype(i)) for i, name in enumerate(ids))


def numbers(drawn) -> list[int]:
    return [int(sample.path.stem) for sample in drawn]


@pytest.mark.parametrize(("category", "n"), VAND)
def test_vand2025_reproduces_the_published_index_lists(category, n):
    for seed, expected in VAND[category, n].items():
        for k in (1, 2, 4, 8):
            drawn = draw(samples(n), k, seed, "vand2025", dataset="mvtec_loco", category=category)
            assert numbers(drawn) == expected[:k]


@pytest.mark.parametrize(("n", "seed"), [(1, 0), (2, 5), (13, 42), (372, 2**31 + 7), (1000, 2**33 + 1)])
def test_randperm_is_torchs(n, seed):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(seed)
    assert torch_randperm(n, seed) == torch.randperm(n, generator=generator).tolist()


def test_nested_draws_are_prefixes_and_ignore_the_order_of_the_list():
    train = samples(40)
    for seed in range(5):
        four = draw(train, 4, seed, **WHERE)
        assert draw(train, 1, seed, **WHERE) == four[:1]
        assert draw(train, 2, seed, **WHERE) == four[:2]
        assert draw(train[::-1], 4, seed, **WHERE) == four
        assert len({sample.id for sample in four}) == 4


def test_nested_draw_is_the_same_on_every_machine():
    # pinned: a change here would change every support set of every earlier run
    drawn = [numbers(draw(samples(335), 4, seed, **WHERE)) for seed in (0, 1)]
    assert drawn == [[252, 62, 184, 314], [138, 299, 184, 161]]


def test_nested_draw_depends_on_data_set_category_and_seed():
    train = samples(100)
    base = draw(train, 4, 0, **WHERE)
    assert draw(train, 4, 1, **WHERE) != base
    assert draw(train, 4, 0, dataset="mvtec_loco", category="pushpins") != base
    assert draw(train, 4, 0, dataset="demo", category="juice_bottle") != base


def test_nested_draw_survives_images_that_were_not_drawn():
    train = samples(50)
    drawn = draw(train, 4, 3, **WHERE)
    others = [s for s in train if s not in drawn]
    assert draw([s for s in train if s not in others[::2]], 4, 3, **WHERE) == drawn


def test_nested_draws_are_spread_evenly():
    counts = [0] * 10
    for seed in range(2000):
        counts[numbers(draw(samples(10), 1, seed, **WHERE))[0]] += 1
    assert min(counts) > 140 and max(counts) < 260  # binomial(2000, 0.1): 200 +- 4.5 sigma


def test_first_k_block_and_full():
    train = samples(10)
    assert numbers(draw(train, 3, 7, "first_k", **WHERE)) == [0, 1, 2]
    assert numbers(draw(train, 3, 2, "block", **WHERE)) == [6, 7, 8]
    for rule in RULES:
        assert numbers(draw(train[::-1], None, 0, rule, **WHERE)) == list(range(10))


def test_per_subtype_draws_k_of_every_type():
    train = samples(30, ("cherry", "banana", "orange"))
    two = draw(train, 2, 0, "per_subtype", **WHERE)
    assert [s.subtype for s in two] == ["banana", "banana", "cherry", "cherry", "orange", "orange"]
    assert set(draw(train, 1, 0, "per_subtype", **WHERE)) < set(two)
    with pytest.raises(DataError, match="needs sub-types"):
        draw(samples(5), 1, 0, "per_subtype", **WHERE)
    with pytest.raises(DataError, match="juice_bottle/banana: 11 shots asked for, 10"):
        draw(train, 11, 0, "per_subtype", **WHERE)


@pytest.mark.parametrize("rule", ["nested", "vand2025", "first_k"])
def test_more_shots_than_images(rule):
    with pytest.raises(DataError, match="mvtec_loco juice_bottle: 4 shots asked for, 3 training images"):
        draw(samples(3), 4, 0, rule, **WHERE)


def test_block_beyond_the_end_and_unknown_rule_and_zero_shots():
    with pytest.raises(DataError, match="block 3 of 3 shots needs 12 training images, 10 are available"):
        draw(samples(10), 3, 3, "block", **WHERE)
    with pytest.raises(DataError, match=r"unknown draw rule 'first-k' \(did you mean 'first_k'\?\)"):
        draw(samples(10), 3, 0, "first-k", **WHERE)
    with pytest.raises(DataError, match="at least 1 or full, not 0"):
        draw(samples(10), 0, 0, **WHERE)


def test_manifest_by_seed_and_plain(tmp_path):
    path = tmp_path / "draws.json"
    path.write_text(json.dumps({"juice_bottle": {"0": ["004.png", "train/good/001.png"], "1": ["2", "003"]}}))
    train = samples(9)
    assert numbers(draw(train, 2, 0, "manifest", path, **WHERE)) == [4, 1]
    assert numbers(draw(train, 1, 0, "manifest", path, **WHERE)) == [4]
    plain = {"juice_bottle": ["007", "008.png"]}
    assert numbers(draw(train, 2, 5, "manifest", plain, **WHERE)) == [7, 8]


def test_yaml_manifest_keeps_numbers_as_file_names(tmp_path):
    path = tmp_path / "draws.yaml"
    path.write_text("juice_bottle:\n  0: [037, 010]\n")  # 037 is octal 31 to a YAML 1.1 reader
    assert numbers(draw(samples(50), 2, 0, "manifest", path, **WHERE)) == [37, 10]


def test_manifest_errors(tmp_path):
    path = tmp_path / "draws.json"
    path.write_text(json.dumps({"juice_bottle": {"0": ["04.png", "001.png", "001.png"]}, "x": {"0": "001"}}))
    train = samples(9)
    cases = {
        "has no seed 3; has: 0": ("juice_bottle", 1, 3),
        r"not among the training images: '04.png' \(did you mean '004.png'\?\)": ("juice_bottle", 1, 0),
        "4 shots asked for, 3 listed": ("juice_bottle", 4, 0),
        r"no category 'juice_botle' \(did you mean 'juice_bottle'\?\)": ("juice_botle", 1, 0),
        "a list of file names is expected": ("x", 1, 0),
    }
    for message, (category, shots, seed) in cases.items():
        with pytest.raises(DataError, match=message):
            draw(train, shots, seed, "manifest", path, dataset="mvtec_loco", category=category)
    with pytest.raises(DataError, match=r"listed twice: train/good/001.png"):
        draw(train, 2, 0, "manifest", {"juice_bottle": ["001", "001.png"]}, **WHERE)
    with pytest.raises(DataError, match="needs a manifest"):
        draw(train, 2, 0, "manifest", **WHERE)
    with pytest.raises(DataError, match=r"gone.json: not a readable manifest"):
        draw(train, 2, 0, "manifest", tmp_path / "gone.json", **WHERE)

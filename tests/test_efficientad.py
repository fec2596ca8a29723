"""EfficientAD and DFSC: losses, training, checkpoints and joint training against slow twins; the store."""

from copy import deepcopy
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from conftest import write_tree
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import functional as V

from harness.artifacts import ArtifactStore
from harness.checks.plates import plates
from harness.config import load
from harness.data import FitData
from harness.errors import HarnessError, NeedNotMet, WeightsError
from harness.method import Context
from harness.notes import noted
from methods import METHODS
from methods.efficientad import EfficientAD, EfficientADDFSC, draws, losses, losses_at_once
from methods.efficientad import train as training
from methods.efficientad.detector import Detector, Fusion
from methods.efficientad.networks import (
    Autoencoder,
    JointConv2d,
    Student,
    by_planes,
    channels_last,
    in_planes,
    joint,
    map_size,
    sizes,
)
from methods.efficientad.recipe import Constraint, Recipe
from methods.efficientad.stepper import Feeder, Stepper
from methods.efficientad.task import Task
from methods.efficientad.train import Pace, Trained, train
from methods.shared.training.draws import index
from methods.shared.training.pdn import (
    MEDIUM,
    OUTPUT,
    SMALL,
    Shape,
    pdn,
    pdn_from,
    pdn_medium,
    pdn_small,
    shape_of,
)
from methods.shared.training.precision import Precision
from methods.shared.training.states import keep
from sweeps.expand import expand
from sweeps.problems import CHECKS

STEPS = 6
QUICK = {"weights": "demo", "image_size": 64, "steps": STEPS}
DATA = FitData(plates().train, plates().validation)
TEST = plates().test.subset(range(0, 20, 4))  # good ones and both kinds of anomalies


@pytest.fixture(autouse=True)
def one_thread():
    """Threads decide the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that keeps pixels and teacher maps from test to test."""
    return tmp_path_factory.mktemp("store")


def dfsc(context: Context | None = None, **params: Any) -> EfficientADDFSC:
    return EfficientADDFSC(context or Context(), **{**QUICK, **params})


def task(
    store: Path, cls: Any = EfficientADDFSC, seed: int = 0, scratch: Path | None = None, **params: Any
) -> Task:
    context = Context(seed, artifacts=ArtifactStore(store), scratch=scratch)
    return cls(context, **{**QUICK, **params})._task(DATA)


def recipe(**changes: Any) -> Recipe:
    return replace(dfsc()._recipe, **changes)


def constraint(**changes: Any) -> Constraint:
    found = dfsc(margin=0.5, quantile=0.9)._constraint
    assert found is not None
    return replace(found, **changes)


def same(a: Trained, b: Trained) -> bool:
    assert a.weights is not None and b.weights is not None
    return np.array_equal(a.weights, b.weights) and np.array_equal(a.losses, b.losses)


# Networks


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_networks_have_the_published_sizes():
    small, medium = Shape("S", SMALL, OUTPUT), Shape("M", MEDIUM, OUTPUT)
    counts = [parameters(n) for s in (small, medium) for n in (pdn(s), Student(s))]
    assert counts == [2_694_144, 4_267_392, 8_026_624, 11_615_488]


def test_maps_and_decoder_have_the_published_sizes():
    assert sizes(256) == [3, 8, 15, 32, 63, 127]
    with torch.no_grad():
        for build, widths in ((pdn_small, (4, 4, 4)), (pdn_medium, (4, 4, 4, 4))):
            assert build(5, widths)(torch.zeros(1, 3, 256, 256)).shape == (1, 5, 56, 56)
            assert build(5, widths, padding=True)(torch.zeros(1, 3, 256, 256)).shape[-2:] == (64, 64)
        for side in (64, 96, 256):
            found = Autoencoder(7, side, True, False)(torch.zeros(1, 3, side, side))
            assert found.shape == (1, 7, map_size(side), map_size(side))


@pytest.mark.parametrize("shape", [Shape("S", (4, 5, 6), 3), Shape("M", (4, 5, 6, 7), 3)])
def test_published_and_anomalibs_teachers_load(shape: Shape):
    network = pdn(shape).eval()
    numbered = [k for k in network.state_dict() if k.endswith("weight")]
    places = {k.partition(".")[0]: f"conv{i + 1}" for i, k in enumerate(numbered)}
    state = dict(network.state_dict())
    other = {f"{places[k.partition('.')[0]]}.{k.partition('.')[2]}": v for k, v in state.items()}
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for layout in (state, other):
            assert shape_of(layout) == shape
            assert torch.equal(pdn_from(layout)(image), network(image))
    with pytest.raises(WeightsError, match="no weights of a PDN-S or PDN-M"):
        pdn_from({k: v for k, v in state.items() if k != "0.bias"})


def test_a_teacher_of_another_size_is_refused(tmp_path: Path):
    torch.save(pdn_medium(8, (4, 4, 4, 4)).state_dict(), tmp_path / "teacher.pth")
    with pytest.raises(WeightsError, match="PDN-M, not of a PDN-S"):
        EfficientAD(Context(), weights=str(tmp_path / "teacher.pth"), steps=1).fit(DATA)


def test_without_a_teacher_the_trial_is_skipped_with_a_reason():
    from harness.method import Task as Situation

    reason = EfficientAD.card.unmet({"weights": None, "size": "M"}, Situation("d", "c", 1, 1, 0, False))
    assert reason is not None and "teacher_medium.pth" in reason


@pytest.mark.parametrize("affine", [False, True])
def test_a_joint_network_is_its_members(affine: bool):
    """Bit for bit with one convolution per member; grouped, up to the order of sums."""
    torch.manual_seed(0)
    members = [Autoencoder(6, 64, True, affine) for _ in range(3)]
    for member in members:
        for norm in member.norms if affine else []:
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    images = [torch.rand(1, 3, 64, 64) for _ in members]
    together = joint(members)
    with torch.no_grad():
        alone = torch.cat([member(x) for member, x in zip(members, images, strict=True)], dim=1)
        assert torch.equal(together(torch.cat(images, dim=1)), alone)
        for module in together.modules():
            if isinstance(module, JointConv2d):
                module.forward = module.grouped
        assert torch.allclose(together(torch.cat(images, dim=1)), alone, atol=1e-4)


# Precision


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [
        ("cpu", None, "float32"),
        ("mps", None, "float32"),
        ("cuda:0", (9, 0), "tf32"),
        ("cuda:0", (8, 0), "tf32"),
        ("cuda:0", (7, 5), "float32"),
    ],
)
def test_auto_is_tf32_where_there_is_one(
    device: str, capability: Any, expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    for cls in (EfficientAD, EfficientADDFSC):
        used = {p: cls(Context(device=device), precision=p).precision_used for p in get_args(Precision)}
        assert used == {"auto": expected, "tf32": expected, "float32": "float32", "bfloat16": "bfloat16"}
    assert dfsc(Context(device=device))._recipe.precision == expected


def test_what_is_stored_does_not_depend_on_timing(store: Path, monkeypatch: pytest.MonkeyPatch):
    """Teacher maps and evaluation take what cuDNN chooses by rules; steps take what is fastest."""
    seen: list[tuple[bool, bool, bool]] = []
    flags = torch.backends.cudnn

    def looking(self: Any, *inputs: torch.Tensor) -> Any:
        seen.append((flags.benchmark, flags.deterministic, flags.allow_tf32))
        return forward(self, *inputs)

    forward = torch.nn.Sequential.forward
    monkeypatch.setattr(torch.nn.Sequential, "forward", looking)
    method = dfsc(Context(), steps=1)
    task = method._task(DATA)
    task.maps()
    assert set(seen) == {(False, True, False)}
    seen.clear()
    (outcome,) = train([replace(task, recipe=replace(task.recipe, precision="tf32"))])
    assert (True, False, True) in seen
    seen.clear()
    assert outcome.weights is not None
    fused = Fusion(0.9, 0.995, "none", sigmoid=False, scale=0.1)
    Detector(task, outcome.weights, fused, None).score(TEST)
    assert set(seen) == {(False, True, False)}


# Losses


@pytest.mark.parametrize("number", [1, 2, 10, 1000, 1001, 73_728, 1_204_224])
@pytest.mark.parametrize("q", [0.5, 0.9, 0.995, 0.999])
def test_quantile_is_torchs_to_the_bit(number: int, q: float):
    values = torch.rand(number, generator=torch.Generator().manual_seed(number)) ** 4
    assert losses.quantile(values, q) == torch.quantile(values, q)


def test_hard_loss_is_the_mean_of_what_reaches_the_quantile():
    d = torch.rand(16, 30, 30) ** 6
    d[0] = d[1]  # ties
    expected = d[d >= torch.quantile(d, 0.99)]
    torch.testing.assert_close(losses.hard(d, recipe(hard_quantile=0.99)), expected.mean())
    summed = losses.hard(d, recipe(hard_quantile=0.99, loss_reduction="sum"))
    torch.testing.assert_close(summed, expected.sum())


def slow_dfsc(T: torch.Tensor, A: torch.Tensor, c: Constraint) -> float:
    """Equations 3 to 6 in loops, in float64."""
    T, A = T.double(), A.double()
    threshold = torch.quantile(((T - A) ** 2).float(), c.quantile)
    total, counted = 0.0, 0
    for h in range(T.shape[1]):
        for w in range(T.shape[2]):
            t, a = T[:, h, w], A[:, h, w]
            mask = (t - a).float() ** 2 >= threshold
            if c.norm == "pre_mask":
                t, a = t / t.norm(), a / a.norm()
            t, a = t * mask, a * mask
            if c.norm == "post_mask":
                t, a = (v / max(float(v.norm()), 1e-12) for v in (t, a))
            counted += c.locations == "all" or bool(mask.any())
            used = c.locations == "all" or bool(mask.any())
            total += used * max(c.margin - float((t - a).norm()), 0)
    return total / counted * (len(T) if c.channel_sum else 1)


@pytest.mark.parametrize("norm", ["pre_mask", "post_mask", "none"])
@pytest.mark.parametrize("locations", ["all", "occupied"])
@pytest.mark.parametrize("channel_sum", [False, True])
def test_dfsc_is_its_equations(norm: Any, locations: Any, channel_sum: bool):
    T, A = torch.randn(2, 12, 7, 7, generator=torch.Generator().manual_seed(0))
    c = constraint(norm=norm, locations=locations, channel_sum=channel_sum)
    assert float(losses.dfsc(T, A, c)) == pytest.approx(slow_dfsc(T, A, c), rel=1e-5)


def test_dfsc_pushes_the_autoencoder_away_and_has_a_gradient_everywhere():
    T = torch.randn(12, 7, 7)
    A = torch.randn(12, 7, 7, requires_grad=True)
    c = constraint(margin=2.0)
    loss = losses.dfsc(T, A, c)
    (gradient,) = torch.autograd.grad(loss, A)
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
    with torch.no_grad():
        assert losses.dfsc(T, A - 0.1 * gradient / gradient.abs().max(), c) < loss
    (nothing,) = torch.autograd.grad(losses.dfsc(T, A, constraint(margin=0.0)), A)
    assert not nothing.any()


@pytest.mark.parametrize("locations", ["all", "occupied"])
@pytest.mark.parametrize("norm", ["pre_mask", "post_mask", "none"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("flag", [False, True])
def test_losses_at_once_are_those_member_by_member(locations: Any, norm: Any, reduction: Any, flag: bool):
    """Values and gradients; members differ in margin, quantile and whether they have a constraint."""
    like = {"locations": locations, "norm": norm, "channel_sum": flag}
    first, other = constraint(**like), constraint(margin=1.5, quantile=0.99, **like)
    r = recipe(loss_reduction=reduction, stae_detach_ae=flag, hard_quantile=0.97)
    maps = torch.randn(6, 3, 8, 9, 9, generator=torch.Generator().manual_seed(0))
    members, twin = ([m.clone().requires_grad_() for m in maps] for _ in range(2))
    weigh = torch.arange(1.0, 16).view(3, 5)
    constraints = [first, None, other]
    assert losses_at_once.agree(constraints)
    at_once = losses_at_once.Losses(r, constraints, maps[0, 0].numel(), torch.device("cpu"))
    found = at_once.terms(outputs_of(members, flag))
    outputs = outputs_of(twin, flag)
    expected = torch.stack([losses.terms(outputs.of(i), r, c) for i, c in enumerate(constraints)])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    (found * weigh).sum().backward()
    (expected * weigh).sum().backward()
    for a, b in zip(members, twin, strict=True):
        if b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


def outputs_of(maps: list[torch.Tensor], penalty: bool) -> losses.Outputs:
    T, S_T, T_A, A, S_A, S_penalty = maps
    return losses.Outputs(T, S_T, T_A, A, S_A, S_penalty if penalty else None)


def test_quantiles_of_rows_are_those_of_each():
    values = torch.rand(4, 5, 7, 7, generator=torch.Generator().manual_seed(0))
    orders = [0.5, 0.9, 0.999, 0.0]
    found = losses_at_once.Quantiles(orders, 245, torch.device("cpu")).of(values).flatten()
    expected = [losses.quantile(v, q) for v, q in zip(values, orders, strict=True)]
    assert torch.equal(found, torch.stack(expected))


def test_constraints_of_two_kinds_are_not_taken_at_once():
    assert not losses_at_once.agree([constraint(), constraint(norm="none")])
    assert losses_at_once.agree([None, None])


def test_jitter_is_torchvisions():
    images = torch.rand(3, 3, 9, 9)
    how = torch.tensor([(1.15, 0, 0), (0.83, 1, 0), (1.2, 0, 1)])
    adjust = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation)
    expected = [f(x, float(h[0])) for f, x, h in zip(adjust, images, how, strict=True)]
    torch.testing.assert_close(draws.jittered(images, how), torch.stack(expected), atol=1e-5, rtol=0)
    drawn = np.array([draws.jitter(0, step) for step in range(300)])
    assert 0.8 <= drawn[:, 0].min() < 0.82 and 1.18 < drawn[:, 0].max() <= 1.2
    assert {tuple(row) for row in drawn[:, 1:]} == {(0, 0), (1, 0), (0, 1)}


def test_every_epoch_takes_every_image_once():
    epochs = [[index(3, draws.IMAGES, e * 7 + i, 7) for i in range(7)] for e in range(4)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_rates():
    vanilla, ours = EfficientAD(Context())._recipe, EfficientADDFSC(Context())._recipe
    assert [vanilla.rate(t) for t in (0, 66_499, 66_500)] == pytest.approx([1e-4, 1e-4, 1e-5])
    assert [ours.rate(t) / 1e-4 for t in (0, 332, 62_999, 63_000)] == pytest.approx(
        [1 - np.exp(-0.003), 1 - np.exp(-0.999), 1, 0.1], rel=1e-6
    )
    assert replace(ours, warmup="none").rate(0) == 1e-4


# Training


def test_the_trainer_is_the_plain_loop(store: Path):
    """Eager twin: whole student, torch.quantile, boolean indexing, torch's own optimiser, EMA by hand."""
    ours = task(store, margin=0.4, dropout=0.0)
    (outcome,) = train([ours])
    seen = slow_losses(ours)
    np.testing.assert_allclose(outcome.losses, seen, rtol=2e-4, atol=1e-6)


def slow_losses(task: Task) -> np.ndarray:
    from methods.efficientad.members import pair
    from methods.shared.training.distillation import imagenet

    r, teacher = task.recipe, task.teacher.network
    student, autoencoder = pair(r, shape_of(teacher.state_dict()), task.context.run_seed)
    chosen = [*student.parameters(), *autoencoder.parameters()]
    optimiser = torch.optim.AdamW(chosen, lr=r.learning_rate, weight_decay=r.weight_decay, foreach=False)
    images = [imagenet(torch.from_numpy(np.array(p)).permute(2, 0, 1)[None] / 255) for p in task.pixels()]
    with torch.no_grad():
        maps = torch.cat([teacher(x) for x in images])
    mean = maps.mean(dim=(0, 2, 3), keepdim=True)
    deviation = ((maps - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True).sqrt()
    found = []
    for step in range(r.steps):
        n = index(task.context.run_seed, draws.IMAGES, step, len(images))
        T = ((maps[n : n + 1] - mean) / deviation)[0]
        S_T, S_A = (s[0] for s in student(images[n]))
        A = autoencoder(images[n])[0]
        d = (T - S_T) ** 2
        hard = d[d >= torch.quantile(d, 0.999)].mean()
        ae, stae = F.mse_loss(A, T), F.mse_loss(S_A, A)
        c = r.constraint
        separate = losses.dfsc(T, A, c) if c else torch.zeros(())
        found.append([float(t.detach()) for t in (hard, torch.zeros(()), ae, stae, separate)])
        for group in optimiser.param_groups:
            group["lr"] = r.rate(step)
        optimiser.zero_grad()
        (hard + ae + stae + (c.alpha if c else 0) * separate).backward()
        optimiser.step()
    return np.array(found)


def test_margin_0_is_dfsc_off_to_the_bit(store: Path):
    off = task(store, margin=0.0)
    assert off.recipe.constraint is None
    zero = replace(off, recipe=replace(off.recipe, constraint=constraint(margin=0.0)))
    a, b = train([off])[0], train([zero])[0]
    assert same(a, b)
    assert not b.losses[:, 4].any()
    assert not same(a, train([task(store, margin=1.0)])[0])


@pytest.mark.parametrize("ema", ["eval_copy", "inplace", "off"])
def test_ema(store: Path, ema: Any):
    """Against averages taken by hand after every step."""
    run = training._Run([task(store, ema=ema, ema_momentum=0.9)])
    members = run.members
    expected = [p.detach().clone() for p in members.student.parameters()]
    run.stepper.take(0)
    after = [p.detach().clone() for p in members.student.parameters()]
    count = sum(p.numel() for p in after)
    if ema == "eval_copy":
        expected = [0.9 * e + 0.1 * a for e, a in zip(expected, after, strict=True)]
        assert not torch.equal(after[0], expected[0])
    else:
        expected = after
    found = members.trained(0)[:count]
    torch.testing.assert_close(found, torch.cat([e.flatten() for e in expected]))


def test_the_slow_student_moves_slowly(store: Path):
    moved = {}
    for ema in ("off", "inplace"):
        run = training._Run([task(store, ema=ema, ema_momentum=0.99)])
        before = [p.detach().clone() for p in run.members.student.parameters()]
        run.stepper.take(0)
        now = run.members.student.parameters()
        moved[ema] = [(p.detach() - b) for p, b in zip(now, before, strict=True)]
    for slow, free in zip(moved["inplace"], moved["off"], strict=True):
        torch.testing.assert_close(slow, 0.01 * free, atol=1e-7, rtol=0)


class Killed(Exception):
    """Stands for SIGKILL: nothing is tidied up."""


@pytest.mark.parametrize("cls", [EfficientAD, EfficientADDFSC])
def test_a_killed_training_continues_to_the_bit(
    cls: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = train([task(store, cls)])[0]
    fill = Feeder.fill

    def killing(self: Any, step: int) -> None:
        if step == 5:
            raise Killed
        fill(self, step)

    cut = task(store, cls, scratch=tmp_path)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Feeder, "fill", killing)
        train([cut], Pace(block=2, seconds=0))
    assert training.steps_done(cut) == 4
    taken: list[int] = []
    monkeypatch.setattr(Feeder, "fill", lambda self, step: (taken.append(step), fill(self, step)))
    assert same(train([cut])[0], whole)
    assert taken == [4, 5]
    header, *rows = (tmp_path / "losses.csv").read_text().splitlines()
    assert header == "step,hard,penalty,ae,stae,dfsc"
    assert [float(v) for v in rows[3].split(",")[1:]] == pytest.approx(whole.losses[3].tolist())


@pytest.mark.parametrize("damage", ["cut", "of another network"])
def test_a_damaged_checkpoint_is_set_aside(store: Path, tmp_path: Path, damage: str):
    cut = task(store, scratch=tmp_path)
    whole = train([cut], Pace(block=2, seconds=0))[0]
    assert cut.checkpoint
    content = torch.load(cut.checkpoint, weights_only=True)
    content["member"]["second"][3] = torch.zeros(1)  # would be spread over all
    keep(content, cut.checkpoint)
    if damage == "cut":
        cut.checkpoint.write_bytes(cut.checkpoint.read_bytes()[:5000])
    with noted() as notes:
        assert training.steps_done(cut) == (0 if damage == "cut" else STEPS)
        assert same(train([cut])[0], whole)
    assert len(notes) == 1 and f"{cut.checkpoint}: no state to go on from" in notes[0]


def test_members_of_a_joint_training_are_what_they_are_alone(store: Path):
    """Bit for bit, whatever differs: margin, quantile, weight, seed (with dropout and data order)."""
    tasks = [
        task(store, margin=0.0),
        task(store, margin=1.0, quantile=0.9),
        task(store, margin=0.4, alpha=1.0, seed=1),
    ]
    together = train(tasks)
    assert all(same(found, train([t])[0]) for t, found in zip(tasks, together, strict=True))
    assert not same(together[0], together[1])


def test_joint_vanilla_members_are_what_they_are_alone(store: Path):
    tasks = [task(store, EfficientAD, seed=seed) for seed in (0, 1)]
    together = train(tasks)
    assert all(same(found, train([t])[0]) for t, found in zip(tasks, together, strict=True))


def test_grouped_convolutions_stay_close_to_single_ones(store: Path, monkeypatch: pytest.MonkeyPatch):
    """What a GPU does for members: the loss trace within 1e-4 of that alone."""
    tasks = [task(store, margin=0.4, seed=seed) for seed in (0, 1)]
    alone = np.stack([train([t])[0].losses for t in tasks])
    monkeypatch.setattr(JointConv2d, "forward", JointConv2d.grouped)
    grouped = np.stack([found.losses for found in train(tasks)])
    np.testing.assert_allclose(grouped, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [EfficientAD, EfficientADDFSC])
def test_steps_with_losses_at_once_stay_close(cls: Any, store: Path):
    """What a card does for members: within 1e-6 of member by member before anything has moved."""
    steppers = [Stepper([task(store, cls, seed=seed) for seed in (0, 1)]) for _ in range(2)]
    taken_at_once(steppers[0])
    found, expected = (stepper.take(0) for stepper in steppers)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def taken_at_once(stepper: Stepper) -> None:
    members = stepper.members
    members.at_once = members.losses_at_once(members.mean.shape[1])
    assert members.at_once is not None


@pytest.mark.parametrize("affine", [False, True])
def test_an_autoencoder_in_planes_is_the_same_and_turns_nothing(affine: bool):
    """Every convolution gets and gives planes, whatever came in: nothing is laid out anew on the way."""
    torch.manual_seed(0)
    usual = channels_last(Autoencoder(6, 64, True, affine))
    other = in_planes(deepcopy(usual))
    last = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    layouts: list[bool] = []

    def look(module: Any, given: Any, result: torch.Tensor) -> None:
        layouts.extend(t.is_contiguous() for t in (*given, result, module.weight))

    for module in other.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(look)
    found, expected = other(last), usual(last)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert layouts and all(layouts)


def test_planes_are_for_instance_normalisation_on_a_card():
    plain, normed = (Autoencoder(6, 64, in_relu, False) for in_relu in (False, True))
    places = [torch.device("cuda:0"), torch.device("cpu")]
    assert [by_planes(network, d) for network in (plain, normed) for d in places] == [
        False,
        False,
        True,
        False,
    ]


class Told:
    """A clock that finds every other layer's first way slower; runs what it is given."""

    def __init__(self, *times: float | RuntimeError) -> None:
        self.times, self.runs = cycle(times), 0

    def __call__(self, run: Any) -> float:
        run()
        self.runs += 1
        found = next(self.times)
        if isinstance(found, RuntimeError):
            raise found
        return found


@pytest.mark.parametrize("cls", [EfficientAD, EfficientADDFSC])
def test_every_layer_goes_the_way_that_was_faster(cls: Any, store: Path):
    """Grouped 2 and each 1 in one layer, 1 and 3 in the next; the loss is the same whichever way."""
    tasks = [task(store, cls, seed=seed) for seed in (0, 1)]
    clock = Told(2, 1, 1, 3)
    stepper = Stepper(tasks, clock)
    joints = [m for n in (stepper.members.student, stepper.members.autoencoder) for m in n.modules()]
    layers = [m for m in joints if isinstance(m, JointConv2d)]
    assert stepper.ways == [layer.way for layer in layers]
    assert clock.runs == 2 * len(layers) and set(stepper.ways) == {"grouped", "each"}
    in_turn = Stepper(tasks)
    assert in_turn.ways == [] and not any(layer._forward_pre_hooks for layer in layers)
    for step in range(2):
        torch.testing.assert_close(stepper.take(step), in_turn.take(step), rtol=1e-4, atol=1e-6)


def test_a_way_that_cannot_be_gone_is_not_taken(store: Path):
    tasks = [task(store, seed=seed) for seed in (0, 1)]
    none = RuntimeError("FIND was unable to find an engine to execute this computation")
    assert set(Stepper(tasks, Told(none, 5)).ways) == {"each"}
    assert set(Stepper(tasks, Told(5, none)).ways) == {"grouped"}
    with pytest.raises(RuntimeError, match="unable to find an engine"):
        Stepper(tasks, Told(none))
    with pytest.raises(torch.OutOfMemoryError):
        Stepper(tasks, Told(torch.OutOfMemoryError("full")))
    assert Stepper(tasks[:1], Told(none)).ways == []


class Watch(TorchDispatchMode):
    """Names the operations that wait for a device, take from the host, or give tensors of unknown size."""

    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "index.Tensor", "nonzero", "masked_select")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not func.__name__.startswith(self.FORBIDDEN), f"{func} in a step that is to be captured"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("cls", [EfficientAD, EfficientADDFSC])
def test_a_step_could_be_captured_as_a_cuda_graph(cls: Any, store: Path):
    stepper = Stepper([task(store, cls, seed=seed) for seed in (0, 1)])
    stepper.take(0)
    for _ in range(2):
        with Watch():
            stepper.members.step(stepper.feeder.feed)
        taken_at_once(stepper)
    for forbidden in (lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.new_tensor([1.0])):
        with pytest.raises(AssertionError, match="captured"), Watch():
            forbidden(torch.rand(3))


def test_a_diverging_training_names_its_step_and_spares_the_others(
    store: Path, monkeypatch: pytest.MonkeyPatch
):
    fill = Feeder.fill

    def poisoned(self: Any, step: int) -> None:
        fill(self, step)
        if step == 3:
            self.feed.teacher[-1, 0, 0, 0] = float("nan")

    tasks = [task(store, seed=0), task(store, seed=1)]
    expected = train([tasks[0]])[0]
    monkeypatch.setattr(Feeder, "fill", poisoned)
    healthy, broken = train(tasks)
    assert same(healthy, expected)
    assert broken.weights is None and broken.diverged == 3
    with pytest.raises(HarnessError, match="training diverged at step 3: hard nan"):
        dfsc(Context(1)).fit(DATA)


# The store, and reading maps


def counted(method: Any) -> dict[str, int]:
    return dict(method.context.artifacts.counters)


def test_other_quantiles_and_scales_need_no_training_and_no_network(tmp_path: Path):
    first = dfsc(Context(artifacts=ArtifactStore(tmp_path / "s"))).fit(DATA)
    scores = first.score(TEST)
    assert counted(first)["efficientad_weights.computes"] == 1
    for reading in (
        {"q_a": 0.5, "q_b": 0.9},
        {"sigmoid": False},
        {"sigmoid_scale": 1.0},
        {"norm_source": "none"},
    ):
        again = dfsc(Context(artifacts=ArtifactStore(tmp_path / "s")), **reading).fit(DATA)
        other = again.score(TEST)
        found = counted(again)
        assert (found["efficientad_weights.hits"], found.get("efficientad_weights.computes", 0)) == (1, 0)
        assert not any(
            found.get(k, 0) for k in ("student_passes", "teacher_passes", "efficientad_maps.computes")
        )
        assert not np.array_equal(other.image, scores.image)


def test_the_teacher_sees_every_image_once_in_a_sweep(tmp_path: Path):
    passes = 0
    for seed in (0, 1):
        for margin in (0.0, 0.4):
            method = dfsc(Context(seed, artifacts=ArtifactStore(tmp_path)), margin=margin, steps=1).fit(DATA)
            method.score(TEST)
            passes += counted(method).get("teacher_passes", 0)
    assert passes == 6 + 4 + len(TEST)


def test_margin_0_is_one_training_for_every_quantile(tmp_path: Path):
    for quantile in (0.9, 0.99):
        method = dfsc(Context(artifacts=ArtifactStore(tmp_path)), margin=0.0, quantile=quantile, steps=1).fit(
            DATA
        )
    assert counted(method)["efficientad_weights.hits"] == 1


def test_fit_together_leaves_what_fit_finds(tmp_path: Path):
    def method(margin: float, name: str) -> EfficientADDFSC:
        artifacts = ArtifactStore(tmp_path / "store")
        return dfsc(Context(artifacts=artifacts, scratch=tmp_path / name), margin=margin)

    EfficientADDFSC.fit_together([(method(m, str(m)), DATA) for m in (0.4, 1.0)])
    for margin in (0.4, 1.0):
        fitted = method(margin, str(margin)).fit(DATA)
        assert counted(fitted)["efficientad_weights.hits"] == 1
        alone = dfsc(margin=margin).fit(DATA)
        assert np.array_equal(fitted.score(TEST).image, alone.score(TEST).image)
        assert (tmp_path / str(margin) / "losses.csv").is_file()


def test_fit_together_without_a_store_leaves_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    member = dfsc(Context(scratch=tmp_path))
    EfficientADDFSC.fit_together([(member, DATA)])
    monkeypatch.setattr(Feeder, "fill", None)  # whoever takes a step fails
    again = dfsc(Context(scratch=tmp_path)).fit(DATA)
    assert np.isfinite(again.score(TEST).image).all()


@pytest.mark.parametrize("stored", [True, False])
def test_members_that_are_too_many_are_trained_in_halves(
    tmp_path: Path, stored: bool, monkeypatch: pytest.MonkeyPatch
):
    """Room for two: three are tried, then one and two; each ends as it would alone."""
    tried: list[int] = []

    def short(tasks: Any, *more: Any) -> list[Trained]:
        tried.append(len(tasks))
        if len(tasks) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(tasks, *more)

    def member(seed: int, folder: str) -> EfficientADDFSC:
        store = ArtifactStore(tmp_path / folder) if stored else ArtifactStore(None)
        return dfsc(Context(seed, artifacts=store, scratch=tmp_path / folder / str(seed)), steps=2)

    monkeypatch.setattr(training, "train", short)
    with noted() as notes:
        EfficientADDFSC.fit_together([(member(seed, "a"), DATA) for seed in range(3)])
    assert tried == [3, 1, 2] and len(notes) == 1 and "3 members are too many" in notes[0]
    monkeypatch.setattr(Feeder, "fill", None)  # whoever takes a step fails
    for seed in range(3):
        assert np.isfinite(member(seed, "a").fit(DATA).score(TEST).image).all()


def test_one_member_that_is_too_much_is_out_of_memory(store: Path, monkeypatch: pytest.MonkeyPatch):
    def full(tasks: Any, *more: Any) -> list[Trained]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "train", full)
    with noted(), pytest.raises(torch.OutOfMemoryError):
        EfficientADDFSC.fit_together([(dfsc(Context(seed)), DATA) for seed in (0, 1)])


def test_what_must_agree_to_be_trained_together():
    together = EfficientADDFSC.card.together
    base = {"margin": 0.4, "quantile": 0.9, "q_a": 0.9, "steps": 10, "ema": "off"}
    assert together(base) == together(base | {"margin": 1.0, "quantile": 0.5, "q_a": 0.5})
    assert together(base) != together(base | {"ema": "inplace"})


def test_normalisation_and_sigmoid_are_the_papers():
    rng = np.random.default_rng(0)
    maps = [rng.gamma(1, size=(2, 8, 8)).astype(np.float32) for _ in range(5)]
    plain = Fusion(0.9, 0.995, "validation", sigmoid=False, scale=0.1)
    levels = plain.levels(maps)
    both = []
    for kind in (0, 1):
        pixels = torch.from_numpy(np.stack([m[kind] for m in maps])).double()
        a, b = torch.quantile(pixels, 0.9), torch.quantile(pixels, 0.995)
        both.append((0.1 * (pixels[0] - a) / (b - a)).numpy())
    np.testing.assert_allclose(plain.fused(maps[0], levels)[0], (both[0] + both[1]) / 2, rtol=1e-6)
    squashed = replace(plain, sigmoid=True).fused(maps[0], levels)[0]
    np.testing.assert_allclose(squashed, sum(1 / (1 + np.exp(-m)) for m in both) / 2, rtol=1e-6)


def test_strong_anomalies_do_not_tie():
    fusion = Fusion(0.9, 0.995, "validation", sigmoid=True, scale=0.1)
    levels = np.zeros((2, 1, 1)), np.ones((2, 1, 1))
    strong = np.array([[[200, 201]], [[200, 201]]], np.float32)
    fused, _ = fusion.fused(strong, levels)
    assert fused[0, 0] < fused[0, 1] < 1


def test_maps_cover_the_image_and_the_score_is_their_maximum():
    method = dfsc(sigmoid=False).fit(DATA)
    scores = method.score(TEST)
    assert scores.maps is not None and scores.maps.shape[1:] == (16, 16)
    assert not scores.maps[:, :4].any() and scores.maps[:, 4:-4, 4:-4].any()
    enlarged = F.interpolate(torch.from_numpy(scores.maps)[:, None], (64, 64), mode="bilinear")
    np.testing.assert_allclose(scores.image, enlarged.amax(dim=(1, 2, 3)).numpy(), rtol=1e-9)
    assert set(scores.parts) == {"st", "stae"}


def test_penalty_images_come_from_the_folder_and_matter(tmp_path: Path):
    from PIL import Image

    rng = np.random.default_rng(0)
    (tmp_path / "images" / "n01").mkdir(parents=True)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), np.uint8)).save(tmp_path / f"images/n01/{i}.png")
    folder = str(tmp_path / "images")
    with_penalty = train([task(tmp_path / "s", EfficientAD, imagenet_penalty=folder)])[0]
    without = train([task(tmp_path / "s", EfficientAD)])[0]
    assert (with_penalty.losses[:, 1] > 0).all() and not without.losses[:, 1].any()
    assert (
        with_penalty.losses[0, 0] == without.losses[0, 0]
        and with_penalty.losses[-1, 0] != without.losses[-1, 0]
    )
    names = [a.name for a in EfficientAD.card.assets({**QUICK, "size": "S", "imagenet_penalty": folder}, "c")]
    assert names == ["pdn_small", "imagenet_penalty"]
    with pytest.raises(WeightsError, match="no folder with images"):
        train([task(tmp_path / "s", EfficientAD, imagenet_penalty=str(tmp_path / "none"))])


def test_no_training_image_is_an_unmet_need():
    with pytest.raises(NeedNotMet):
        dfsc().fit(FitData(plates().train.subset([])))


# Sweep files

LOCO = ("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors")


@pytest.mark.parametrize(
    ("name", "trials", "trainings"),
    [("efficientad", 3, 3), ("dfsc_margin", 5, 5), ("dfsc_quantile", 25, 21), ("dfsc_ablation", 5, 4)],
)
def test_sweeps_of_the_tables_expand(
    name: str, trials: int, trainings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of one category, per seed: rows of a table, and how many trainings they are."""
    root = write_tree(tmp_path, LOCO)
    for file in ("teacher_small.pth", "teacher_medium.pth"):
        torch.save(pdn_small().state_dict(), tmp_path / file)
    monkeypatch.setenv("LADDER_DATA", str(tmp_path))
    monkeypatch.setenv("LADDER_TEACHERS", str(tmp_path))
    path = Path(__file__).parents[1] / f"configs/{name}.yaml"
    planned = expand(load(path, [f"dataset={{name: mvtec_ad, root: {root}}}"], CHECKS))
    found = [t for t, _ in planned if t.category == LOCO[0]]
    assert len(planned) == 5 * len(found)
    assert len(found) == 3 * trials
    methods = [METHODS.load(t.method)(Context(t.run_seed or 0), **t.params) for t in found]
    assert len({(repr(m._recipe), m.context.run_seed, m.size) for m in methods}) == 3 * trainings

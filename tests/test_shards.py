"""A sweep in disjoint parts: who runs what, nothing lost, nothing done twice, the whole the same."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import sweep_here

from harness.config import load
from harness.errors import ConfigError
from harness.method import Resources
from harness.results import gather, held, read_run
from harness.trial import Trial
from sweeps import gathering
from sweeps.plan import Planned, make_plan
from sweeps.shards import Shard, dealt, folders, home, shard_of
from sweeps.worker import slots_here

Write = Callable[..., Path]
SERIAL = ("--backend", "serial")


def trial(method: str, category: str, seed: int, **keys: Any) -> Planned:
    plain = {
        "params": {},
        "dataset": "d",
        "fingerprint": "f",
        "shots": 1,
        "support": ("a",),
        "split_seed": seed,
    }
    made = Trial(method=method, method_version=1, category=category, run_seed=seed, **(plain | keys))
    return made, Resources(stack=4 if made.together else 1)


def planned() -> list[Planned]:
    """Three methods over nine categories: many seeds, one seed, and stacks of four."""
    found = [trial("many", f"c{c}", s) for c in range(9) for s in range(15)]
    found += [trial("once", f"c{c}", 0) for c in range(9)]
    found += [trial("stacks", f"c{c}", s, together="net") for c in range(9) for s in range(8)]
    return [*found, *(trial("never", f"c{c}", 0, reason="no labels") for c in range(9))]


@pytest.mark.parametrize("of", [1, 2, 4, 7, 50])
def test_every_trial_is_in_one_shard_and_every_method_is_shared_out(of: int):
    trials = planned()
    numbers = dealt(trials, of)
    assert numbers.keys() == {t.id for t, _ in trials}
    assert set(numbers.values()) <= set(range(of))
    for method in ("many", "once", "stacks", "never"):
        own = [(t, r) for t, r in trials if t.method == method]
        loads = Counter(numbers[t.id] for t, _ in own)
        most = max(len(u.trials) for u in make_plan(own, {}, slots=of).units) if method != "never" else 1
        assert max(loads.values()) <= len(own) / of + most  # the bound of dealing to the emptiest


@pytest.mark.parametrize("of", [2, 3, 4, 8])
def test_no_shard_has_much_more_than_its_share_of_a_method_and_categories_stay_together(of: int):
    numbers = dealt(planned(), of)
    loads = Counter(numbers[t.id] for t, _ in planned() if t.method == "many")
    assert max(loads.values()) <= 1.2 * 135 / of
    places = {(t.category, numbers[t.id]) for t, _ in planned() if not t.reason}
    assert len(places) <= 27  # each of nine categories in three shards, on average and at most


def test_trials_that_train_as_one_stay_together():
    numbers = dealt(planned(), 4)
    for unit in make_plan(planned(), {}).units:
        if unit.together:
            assert len({numbers[t.id] for t in unit.trials}) == 1


def test_parts_keep_the_order_of_the_plan_and_the_stacks_of_the_whole():
    trials = planned()
    parts = [Shard(i, 3, Path("run")).part(trials) for i in range(3)]
    order = [t.id for t, _ in trials]
    assert sorted(order) == sorted(t.id for part in parts for t, _ in part)
    assert all([t.id for t, _ in part] == sorted((t.id for t, _ in part), key=order.index) for part in parts)
    stacks = {u.id for u in make_plan(trials, {}).units if u.together}
    assert {u.id for part in parts for u in make_plan(part, {}).units if u.together} == stacks


def test_a_shard_is_named_by_its_number_and_how_many_there_are(tmp_path: Path):
    shard = shard_of("1/4", tmp_path / "run")
    assert shard.folder == tmp_path / "run.shards/1of4"
    for text in ("4/4", "1", "a/4", "-1/4", "1/0", "1/2/3", "²/4", "1/100000"):
        with pytest.raises(ConfigError, match="--shard"):
            shard_of(text, tmp_path)


# --- runs ---------------------------------------------------------------------------------------------------

KEYS = {"seeds": 2, "shots": [1, 2], "keep_maps": True}


def ended(run: Path) -> dict[str, str]:
    found = read_run(run, scores=False)
    return dict(zip(found.trials["trial_id"], found.trials["status"], strict=True))


def numbers_of(run: Path) -> pd.DataFrame:
    found = read_run(run)
    keys = ["trial_id", "subset", "metric"]
    return found.metrics.sort_values(keys).reset_index(drop=True)[[*keys, "value"]]


def shards(path: Path, of: int, *words: str, which: Sequence[int] | None = None) -> None:
    for i in range(of) if which is None else which:
        done = sweep_here(path, *SERIAL, "--shard", f"{i}/{of}", *words)
        assert done.returncode == 0, done.stderr


def test_shards_make_the_run_of_one_process(sweep_file: Write, tmp_path: Path):
    path = sweep_file(**KEYS)
    assert sweep_here(path, *SERIAL, f"out={tmp_path / 'one'}").returncode == 0
    shards(path, 3)
    run = tmp_path / "run"
    pd.testing.assert_frame_equal(numbers_of(run), numbers_of(tmp_path / "one"))
    plans = [read_run(r).plan for r in (run, tmp_path / "one")]
    pd.testing.assert_frame_equal(*plans)
    own = [set(ended(home(run) / f"{i}of3")) for i in range(3)]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(own, 2))
    maps = {p.name for p in (tmp_path / "one/maps").iterdir()}
    assert {p.name for p in (run / "maps").iterdir()} == maps


def test_another_number_of_shards_goes_on_with_what_is_there(sweep_file: Write, tmp_path: Path):
    path, run = sweep_file(**KEYS), tmp_path / "run"
    shards(path, 3, which=[0, 2])
    before = ended(run)
    done = sweep_here(path, *SERIAL, "--shard", "0/2")
    own = {t.id for t, _ in _part(path, 0, 2)}
    assert f"{len(own)} trials planned, {len(own & before.keys())} already there" in done.stdout
    shards(path, 2)
    finished = read_run(run, scores=False).trials.set_index("trial_id")["finished_at"]
    first = [read_run(home(run) / f"{i}of3", scores=False).trials for i in (0, 2)]
    for row in pd.concat(first).itertuples():
        assert finished[row.trial_id] == row.finished_at  # nothing ran twice


def _part(path: Path, number: int, of: int) -> list[Planned]:
    from sweeps.expand import expand

    return Shard(number, of, Path("run")).part(expand(load(path)))


def test_the_whole_sweep_takes_over_what_shards_have_finished(sweep_file: Write, tmp_path: Path):
    path, run = sweep_file(**KEYS), tmp_path / "run"
    shards(path, 2, which=[1])
    there = len(ended(home(run) / "1of2"))
    for name in ("sweep.json", "plan.parquet"):
        (run / name).unlink()  # as if nothing had been handed in
    said = f"12 trials planned, {there} already there"
    assert said in sweep_here(path, "--dry-run").stdout
    assert said in sweep_here(path, *SERIAL).stdout
    assert len(ended(run)) == 12


def test_only_chooses_before_trials_are_dealt_out(sweep_file: Write, tmp_path: Path):
    path = sweep_file(**KEYS)
    shards(path, 2, "--only", "category=cap,shots=1")
    assert set(ended(tmp_path / "run").values()) == {"ok"}
    assert len(ended(tmp_path / "run")) == 2
    refused = sweep_here(path, *SERIAL, "--shard", "0/2", "--only", "category=cup")
    assert refused.returncode == 2
    assert "did you mean 'cap'" in refused.stderr


def test_a_failed_row_gives_way_to_an_ok_one_and_never_the_other_way(sweep_file: Write, tmp_path: Path):
    path, run = sweep_file(**KEYS), tmp_path / "run"
    shards(path, 1)
    _set_status(home(run) / "0of1", "failed")
    assert set(ended(home(run) / "0of1").values()) == {"failed"}
    assert sweep_here(path, "--merge-shards").returncode == 0  # those in the run are ok
    assert sweep_here(path, *SERIAL, "--shard", "0/1").stdout.count("12 already there")
    assert set(ended(home(run) / "0of1").values()) == {"ok"}  # taken over from the run


def _set_status(run: Path, status: str) -> None:
    from harness.results.tables import parts

    for part in parts(run):
        tables = part.read()
        column = tables["trials"].schema.get_field_index("status")
        values = [[status] * len(tables["trials"])]
        tables["trials"] = tables["trials"].set_column(column, tables["trials"].schema.field(column), values)
        part.write(tables)


def test_a_shard_that_cannot_be_read_is_named_and_costs_nothing_else(sweep_file: Write, tmp_path: Path):
    path, run = sweep_file(**KEYS), tmp_path / "run"
    shards(path, 2)
    number = len(ended(home(run) / "0of2"))
    part = next((home(run) / "0of2/trials").iterdir())
    part.write_bytes(part.read_bytes()[:-1])
    found = gather(tmp_path / "new", folders(run), ended(run))
    assert len(found.statuses) == 12 - number
    assert "0of2" in " ".join(found.notes)
    done = sweep_here(path, "--merge-shards", f"out={tmp_path / 'run'}")
    assert (done.returncode, done.stdout.count("0of2/trials")) == (0, 1)  # handed in before it broke


def test_while_somebody_writes_the_whole_a_shard_keeps_its_rows(
    sweep_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gathering, "WAIT_SECONDS", 0.0)
    path, run = sweep_file(**KEYS), tmp_path / "run"
    with held(run):
        done = sweep_here(path, *SERIAL, "--shard", "0/2")
    assert done.returncode == 0
    assert "put them together later with --merge-shards" in done.stdout
    half = sweep_here(path, "--merge-shards")
    assert half.returncode == 1  # the other shard is missing
    assert ended(run) == ended(home(run) / "0of2")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--shard", "0/2", "--merge-shards"), "--shard does not go together with --merge-shards"),
        (("--slurm-array", "2", "--limit", "3"), "--slurm-array does not go together with --limit"),
        (("--merge-shards", "--address", "auto"), "--merge-shards does not go together with --address"),
        (("--sbatch", "--time=1"), "--sbatch says what goes into the file of --slurm-array K"),
        (("--shard", "2/2"), "--shard 2/2: I goes from 0 to K - 1"),
        (("--slurm-array", "0"), "--slurm-array '0': is K, a number of tasks"),
        (("--slurm-array", "4%"), "--slurm-array '4%': is K, a number of tasks"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(sweep_file: Write, words: Sequence[str], says: str):
    done = sweep_here(sweep_file(), *words)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize(
    ("given", "slots"),
    [({}, 3), ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "2"}, 2), ({"SLURM_JOB_ID": "7"}, 3)],
)
def test_a_job_uses_the_cores_that_it_was_given(
    given: Mapping[str, str], slots: int, monkeypatch: pytest.MonkeyPatch
):
    for name in ("SLURM_JOB_ID", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert slots_here() == slots

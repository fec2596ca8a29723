"""The recipes for clusters: shells and schemas take them, every command and option in them exists.

No Slurm, Kubernetes, Docker or Apptainer is asked; `deploy/README.md` says what has been tried where.
"""

import importlib
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import ROOT

from harness import list as listing
from harness import sweep
from harness.ownership import PACKAGES

DEPLOY = ROOT / "deploy"
SBATCH = sorted(DEPLOY.glob("slurm/*.sbatch"))
RECIPES = [*SBATCH, DEPLOY / "kuberay/rayjob.yaml", DEPLOY / "Dockerfile", DEPLOY / "apptainer.def"]
NAMES = [path.name for path in RECIPES]
PARSERS = {"harness.sweep": sweep._parser(), "harness.list": listing.parser()}


def test_every_recipe_is_looked_at():
    found = {path for path in DEPLOY.rglob("*") if path.is_file() and path.name != "README.md"}
    assert found == set(RECIPES)


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_nothing_about_a_lab_leaves_it(path: Path):
    assert re.search(r'RAY_USAGE_STATS_ENABLED(=|, value: ")0', path.read_text())


@pytest.mark.parametrize("path", [*SBATCH, DEPLOY / "kuberay/rayjob.yaml"], ids=NAMES[:4])
def test_nobody_joins_without_the_token(path: Path):
    assert re.search(r"RAY_AUTH_MODE=token|authOptions: \{mode: token\}", path.read_text())


def lines(path: Path) -> list[str]:
    """Lines of shell, continued ones joined, comments that show how a file is used included."""
    text = re.sub(r"\\\n(#\s*)?", " ", path.read_text())
    return [line.strip().removeprefix("#").strip() for line in text.splitlines()]


COMMANDS = [
    (path.name, line[line.index("-m harness.") :])
    for path in RECIPES
    for line in lines(path)
    if re.search(r"-m harness\.", line)
]


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_every_command_of_ours_parses(name: str, line: str):
    words = shlex.split(line.replace('"$@"', "a.yaml").rstrip(" &"))[1:]
    if "--help" not in words:
        PARSERS[words[0]].parse_intermixed_args(words[1:])
    for config in (w for w in words if "configs/" in w):
        assert (ROOT / config.removeprefix("/opt/ladder/")).is_file()


def test_every_recipe_starts_ladder():
    named = {name for name, _ in COMMANDS}
    assert named == {"head.sbatch", "symmetric.sbatch", "rayjob.yaml", "Dockerfile", "apptainer.def"}


# --- Slurm --------------------------------------------------------------------------------------------------

# of sbatch in Slurm 22.05, those that we use
OPTIONS = {
    *("job-name", "array", "nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "mem", "time", "output"),
    *("open-mode", "requeue", "signal", "exclusive", "gres", "gpus-per-node"),
}


@pytest.mark.parametrize("path", SBATCH, ids=NAMES[:3])
def test_sbatch_and_bash_read_it(path: Path):
    text = path.read_text()
    assert text.startswith("#!/bin/bash\n#")
    given = re.findall(r"^#SBATCH --([\w-]+)", text, re.M)
    assert len(given) == text.count("#SBATCH") > 5
    assert set(given) <= OPTIONS
    assert text.rindex("#SBATCH") < text.index("\nset -eu")  # sbatch stops at the first command
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("path", SBATCH, ids=NAMES[:3])
def test_shellcheck_finds_nothing(path: Path):
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True)
    assert done.stdout == ""


def ray_lines() -> list[tuple[str, str]]:
    # `exec`, `srun`, `until` or nothing ahead of it; what follows `--` is a command of ours
    found = [(path.name, line) for path in SBATCH for line in lines(path)]
    found += [("README.md", line) for line in lines(DEPLOY / "README.md")]
    starts = re.compile(
        r"^(?:srun |until )?(ray (?:start|health-check|symmetric-run|get-auth-token|job submit) .*)"
    )
    return [(name, hit[1].split(" -- ")[0]) for name, line in found if (hit := starts.match(line))]


@pytest.mark.parametrize(("name", "line"), ray_lines())
def test_every_option_of_ray_exists(name: str, line: str):
    words = line.split()
    command: Any = importlib.import_module("ray.scripts.scripts").cli
    known: set[str] = set()
    for word in words[1:]:
        if not hasattr(command, "commands") or word not in command.commands:
            break
        command = command.commands[word]
        known |= {option for parameter in command.params for option in parameter.opts}
    if words[1] == "symmetric-run":  # takes those of `ray start` as well
        start = importlib.import_module("ray.scripts.scripts").start
        known |= {option for parameter in start.params for option in parameter.opts}
    given = re.findall(r"(?<=\s)--[\w-]+", line)
    assert given
    assert [option for option in given if option not in known] == []


def test_ray_is_asked_in_every_way_that_is_described():
    assert {line.split()[1] for _, line in ray_lines()} == {
        *("start", "health-check", "symmetric-run", "get-auth-token", "job"),
    }


# --- KubeRay ------------------------------------------------------------------------------------------------


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


TEXT, NUMBER, TEXTS = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "object"}
TEXTS = TEXTS | {"additionalProperties": TEXT}
MOUNT = closed(["name", "mountPath"], name=TEXT, mountPath=TEXT, readOnly={"type": "boolean"})
CLAIM = closed(["claimName"], claimName=TEXT, readOnly={"type": "boolean"})
VOLUME = closed(["name"], name=TEXT, emptyDir=TEXTS, persistentVolumeClaim=CLAIM)
CONTAINER = closed(
    ["name", "image", "env", "resources"],
    name=TEXT,
    image=TEXT,
    env={"type": "array", "items": closed(["name", "value"], name=TEXT, value=TEXT)},
    resources=closed(["requests", "limits"], requests=TEXTS, limits=TEXTS),
    volumeMounts={"type": "array", "items": MOUNT},
)
POD = closed(
    ["spec"],
    spec=closed(
        ["containers"],
        containers={"type": "array", "items": CONTAINER, "minItems": 1},
        volumes={"type": "array", "items": VOLUME},
    ),
)
WORKERS = closed(
    ["groupName", "minReplicas", "maxReplicas", "template"],
    groupName=TEXT,
    replicas=NUMBER,
    minReplicas=NUMBER,
    maxReplicas=NUMBER,
    rayStartParams=TEXTS,  # text to text: a bare 0 is refused
    template=POD,
)
CLUSTER = closed(
    ["headGroupSpec"],
    rayVersion=TEXT,
    enableInTreeAutoscaling={"type": "boolean"},
    authOptions=closed(["mode"], mode={"enum": ["disabled", "token"]}),
    headGroupSpec=closed(["template"], rayStartParams=TEXTS, template=POD),
    workerGroupSpecs={"type": "array", "items": WORKERS},
)
# What KubeRay's schema of RayJob (ray.io/v1) has of the fields that we use.
JOB = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=closed(["name"], name={"type": "string", "pattern": "^[a-z0-9-]{1,47}$"}),
    spec=closed(
        ["entrypoint", "rayClusterSpec"],
        entrypoint=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=NUMBER,
        backoffLimit=NUMBER,
        rayClusterSpec=CLUSTER,
    ),
)


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "kuberay/rayjob.yaml").read_text())


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [g["template"]["spec"] for g in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_the_job_is_one_that_kuberay_takes(job: dict[str, Any]):
    jsonschema.validate(job, JOB)
    for broken in ({"entrypont": "x"}, {"entrypoint": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(job | {"spec": job["spec"] | broken}, JOB)


def test_all_nodes_of_the_job_have_the_same_image_and_environment(job: dict[str, Any]):
    containers = [pod["containers"][0] for pod in pods(job)]
    assert len({container["image"] for container in containers}) == 1
    assert not containers[0]["image"].endswith(":latest")
    assert all(container["env"] == containers[0]["env"] for container in containers)


def test_what_is_mounted_is_there_and_shared_memory_fits(job: dict[str, Any]):
    for pod in pods(job):
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
        assert mounted["shm"] == "/dev/shm"  # 64 MiB otherwise, and Ray's objects go to the disk


def test_results_of_the_job_lie_on_a_claim_of_the_head(job: dict[str, Any]):
    out = re.search(r"out=(\S+)", job["spec"]["entrypoint"])
    head = pods(job)[0]
    assert out
    claims = {v["name"] for v in head["volumes"] if "persistentVolumeClaim" in v}
    places = [m["mountPath"] for m in head["containers"][0]["volumeMounts"] if m["name"] in claims]
    assert any(out[1].startswith(f"{place}/") for place in places)


def test_trials_run_on_workers_with_cards_and_the_head_has_none(job: dict[str, Any]):
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    for group in cluster["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert int(limits["nvidia.com/gpu"]) >= 1
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


# --- containers ---------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    kept = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in kept)]


def test_the_dockerfile_is_one():
    words = [word for word, _ in instructions()]
    known = {"FROM", "RUN", "COPY", "ARG", "ENV", "WORKDIR", "USER", "CMD"}
    assert set(words) == known
    assert words[0] == "FROM"
    given = dict(instructions())
    assert re.fullmatch(r"[\w./-]+:[\w.-]+", given["FROM"])  # a version, and not whatever is the latest
    assert "latest" not in given["FROM"]
    assert given["USER"] != "root"
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert all("rm -rf /var/lib/apt/lists" in rest for word, rest in instructions() if "apt-get" in rest)
    assert all("--no-cache-dir" in rest for word, rest in instructions() if "pip install" in rest)


def copied() -> dict[str, set[str]]:
    """Recipe -> what it takes from the checkout."""
    docker = {source for word, rest in instructions() if word == "COPY" for source in rest.split()[:-1]}
    return {"Dockerfile": docker, "apptainer.def": {line.split()[0] for line in sections()["files"]}}


def sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"": []}
    for line in (DEPLOY / "apptainer.def").read_text().splitlines():
        if line.startswith("%"):
            found[line[1:].strip()] = []
        elif line.strip() and not line.startswith("#"):
            found[list(found)[-1]].append(line.strip())
    return found


def test_the_apptainer_recipe_is_one():
    known = {"", "files", "post", "environment", "runscript", "test"}
    assert sections().keys() == known
    assert sections()[""] == ["Bootstrap: docker", f"From: {dict(instructions())['FROM']}"]


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_images_have_what_an_installation_needs_and_no_more(name: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {*PACKAGES, *project["license-files"], project["readme"], "pyproject.toml", "configs"}
    assert copied()[name] - {"CITATION.cff"} == needed
    assert all((ROOT / source).exists() for source in copied()[name])


def test_one_version_of_ray_in_all_of_them(job: dict[str, Any]):
    version = job["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"ARG RAY_VERSION={version}\n" in (DEPLOY / "Dockerfile").read_text()
    assert f'"ray[default,tune]=={version}"' in (DEPLOY / "apptainer.def").read_text()

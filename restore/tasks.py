"""The one place that wires engines to tasks. Imports nothing heavy: engines and options are named, not imported.

Tasks of other packages join by an entry point of the group `restore.tasks` (name = the task, value = "module:TASK"),
or for a while by the environment variable RESTORE_TASKS, "my_pkg.my_module" or "my_file.py", whose TASKS (name ->
`Task`) are added. See docs/architecture.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from restore.errors import ConfigError, nearest
from restore.inference.options import RunOptions
from restore.naming import imported
from restore.options import Options, aliases_of, flag

if TYPE_CHECKING:
    from restore.degradations.cases import Case
    from restore.inference.engine import Engine

GROUP, VARIABLE = "restore.tasks", "RESTORE_TASKS"
COMMANDS = ("adapt", "inspect", "score", "eval", "train", "new-model", "data", "weights", "doctor")
"""Commands that are no tasks, whose names no task may have."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """One way to answer a task.

    Attributes:
        engine: "module:name" of what makes the engine from its options, and `arguments`.
        options: "module:name" of its dataclass of options.
        weights: shipped weights without which it is not chosen unasked; "" for none.
        arguments: further keywords of the engine that this method stands for.
        save: how its files are saved unless asked otherwise, fields of `restore.io.options.SaveOptions`.
        per_picture: it stands for others, and which one is taken is measured in each picture.
    """

    engine: str
    options: str
    weights: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    save: Mapping[str, Any] = field(default_factory=dict)
    per_picture: bool = False


@dataclass(frozen=True)
class Task:
    """What the program can do with pictures, and by which methods.

    Attributes:
        summary: one sentence for `restore --help`.
        ending: of default output names ("denoised").
        methods: by name; where the user names none, the first that takes all options given and has its weights.
        inputs: names of the pictures taken at once; more than one are paths side by side on the command line.
        choose: "module:name" of a function (options given by name) -> method, instead of that rule (`choose_method`).
        subcommand: the method is the first word after the task, called so in messages ("kind of damage").
        in_place: results may replace their inputs.
        cases: "module:name" of the class of its evaluation's cases (`restore.degradations.cases.Case`); "" for none.
    """

    summary: str
    ending: str
    methods: Mapping[str, Method]
    inputs: tuple[str, ...] = ("picture",)
    choose: str = ""
    subcommand: str = ""
    in_place: bool = True
    cases: str = ""


def _denoise(name: str, options: str, weights: str = "") -> Method:
    return Method(f"restore.engines.denoise.{name}", f"restore.engines.denoise.options:{options}", weights)


def _deconv(method: str, options: str = "DeconvOptions") -> Method:
    engine = "restore.engines.deconv.engine:DeconvolutionEngine"
    measured = method == "auto"
    return Method(
        engine, f"restore.engines.deconv.options:{options}", arguments={"method": method}, per_picture=measured
    )


def _upscale(method: str, options: str = "UpscaleOptions", weights: str = "") -> Method:
    engine = "restore.engines.upscale.engine:UpscaleEngine"
    return Method(
        engine, f"restore.engines.upscale.options:{options}", weights, {"method": method},
        per_picture=method == "measured",
    )  # fmt: skip


def _deblur(method: str, options: str, weights: str = "") -> Method:
    engine = "restore.engines.deblur.engine:DeblurEngine"
    measured = method == "measured"
    options = f"restore.engines.deblur.options:{options}"
    return Method(engine, options, weights, {"method": method}, per_picture=measured)


def _degrade(kind: str, options: str, **save: Any) -> Method:
    engine = "restore.engines.degrade.engine:DegradeEngine"
    return Method(engine, f"restore.engines.degrade.options:{options}", arguments={"kind": kind}, save=save)


def _smaller(engine: str, options: str) -> Method:
    return Method(f"restore.engines.degrade.smaller:{engine}", f"restore.engines.degrade.options:{options}")


TASKS: dict[str, Task] = {
    "denoise": Task(
        summary="Remove noise from a picture, several pictures, or folders of them.",
        ending="denoised",
        methods={
            "network": _denoise("network_choice:by_network", "NetworkOptions", "denoise"),
            "zero-shot": _denoise("zero_shot:ZeroShotEngine", "ZeroShotOptions"),
            "classical": _denoise("classical:ClassicalEngine", "ClassicalOptions"),
            "self-supervised": _denoise("self_supervised:SelfSupervisedEngine", "SelfSupervisedOptions"),
        },
        cases="restore.degradations.noise_cases:NoiseCase",
    ),
    "deconv": Task(
        summary="Take a known blur out of a picture, several pictures, or folders of them.",
        ending="deblurred",
        methods={
            "measured": _deconv("auto"),
            "infwide": _deconv("infwide", "WeightsOptions"),
            "pnp": _deconv("pnp", "WeightsOptions"),
            "wiener": _deconv("wiener"),
            "rl": _deconv("rl", "IterativeOptions"),
            "rl-tv": _deconv("rl-tv", "IterativeOptions"),
            "hyper-laplacian": _deconv("hyper-laplacian"),
        },
        cases="restore.degradations.blur_cases:BlurCase",
    ),
    "deblur": Task(
        summary="Take a blur that is not known out of a picture, several pictures, or folders of them.",
        ending="deblurred",
        methods={
            "measured": _deblur("measured", "DeblurOptions"),
            "psf": _deblur("psf", "DeblurOptions"),
            "network": _deblur("network", "NetworkOptions", "deblur"),
            "adapted": Method(
                "restore.engines.deblur.adaptation.engine:AdaptingDeblurEngine",
                "restore.engines.deblur.options:AdaptOptions",
                "deblur",
            ),
        },
        cases="restore.degradations.deblur_cases:DeblurCase",
    ),
    "upscale": Task(
        summary="Enlarge a picture, several pictures, or folders of them (super-resolution).",
        ending="upscaled",
        methods={
            "measured": _upscale("measured"),
            "fidelity": _upscale("fidelity", "SharpnessOptions"),
            "gan": _upscale("gan", "SharpnessOptions"),
            "real": _upscale("real"),
            "network": _upscale("network", "NetworkOptions"),
        },
        in_place=False,
        cases="restore.degradations.upscale_cases:UpscaleCase",
    ),
    "degrade": Task(
        summary="Make pictures worse, for test cases: gaussian, poisson, speckle, salt-pepper, correlated, developed, "
        "grain, camera, jpeg, resize, random (one of them, drawn for each picture), none; blur; smaller ones: "
        "downscale, real-world.",
        ending="degraded",
        methods={
            "gaussian": _degrade("gaussian", "GaussianOptions"),
            "poisson": _degrade("poisson", "PoissonOptions"),
            "speckle": _degrade("speckle", "SpeckleOptions"),
            "salt-pepper": _degrade("salt-pepper", "SaltPepperOptions"),
            "correlated": _degrade("correlated", "CorrelatedOptions"),
            "developed": _degrade("developed", "DevelopedOptions"),
            "grain": _degrade("grain", "GrainOptions"),
            "camera": _degrade("camera", "CameraOptions"),
            "jpeg": _degrade("jpeg", "JpegOptions", quality=100),
            "resize": _degrade("resize", "ResizeOptions"),
            "random": _degrade("random", "RandomOptions"),
            "none": _degrade("none", "NoneOptions"),
            "blur": Method("restore.engines.degrade.blur:BlurEngine", "restore.engines.degrade.options:BlurOptions"),
            "downscale": _smaller("DownscaleEngine", "DownscaleOptions"),
            "real-world": _smaller("RealWorldEngine", "RealWorldOptions"),
        },
        subcommand="kind of damage",
        in_place=False,
    ),
}


def all_tasks() -> dict[str, Task]:
    """Our tasks, and those of other packages. Raises `ConfigError` if RESTORE_TASKS names none, or one twice."""
    installed = _installed()
    added = {name: joined.task for name, joined in installed.items()}
    return {**TASKS, **added, **_of_environment(os.environ.get(VARIABLE, ""), installed)}


def task_named(name: str) -> Task:
    """Raises `ConfigError` if there is none."""
    tasks = all_tasks()
    if name not in tasks:
        raise ConfigError(f"unknown task {name!r}", fix=f"{nearest(name, tasks)}Use {', '.join(tasks)}")
    return tasks[name]


def options_class(method: Method) -> type[Options]:
    """The class of a method's options."""
    return imported(method.options, {}, "class of options", "MyOptions")


def case_class(task: Task) -> type[Case] | None:
    """The class of a task's evaluation cases, if it has one. Raises `ConfigError` if that is none."""
    if not task.cases:
        return None
    from restore.degradations.cases import Case  # not above: it loads numpy

    kind = imported(task.cases, {}, "kind of case", "MyCase")
    if not (isinstance(kind, type) and issubclass(kind, Case) and is_dataclass(kind)):
        fix = "Give a dataclass that is a restore.degradations.cases.Case"
        raise ConfigError(f"{task.cases} describes no cases of an evaluation", fix=fix)
    return kind


def option_names(method: Method) -> list[str]:
    """Of all options a method takes."""
    return [each.name for each in fields(options_class(method))]  # type: ignore[arg-type]


def choose_method(task: Task, given: Mapping[str, Any]) -> str:
    """The method where the user names none: the task's own rule, or the first that takes all options given.

    Args:
        given: the options the user gave, by name.
    """
    if task.choose:
        return imported(task.choose, {}, "rule of choice", "choose")(given)
    fitting = [name for name, method in task.methods.items() if set(given) <= set(option_names(method))]
    if not fitting and all(_owners(task, option) for option in given):
        at_odds = _at_odds(task, list(given))
        each = (f"{flag(option)} belongs to {' or '.join(_owners(task, option))}" for option in at_odds)
        raise ConfigError(
            f"{' and '.join(map(flag, at_odds))} do not go together", why="; ".join(each), fix="Leave one out"
        )
    ready = [name for name in fitting if _has_weights(task.methods[name]) or "weights" in given]
    return (ready or fitting or list(task.methods))[0]


class Built(NamedTuple):
    """An engine, and what it was built from."""

    engine: Engine
    method: str
    options: Options


def build(name: str, method: str = "auto", given: Mapping[str, Any] | None = None) -> Built:
    """The engine that answers a task by a method.

    Args:
        name: of the task.
        given: options of the method by name.
    Raises:
        ConfigError: an unknown task or method, an option the method does not take, a wrong value.
    """
    task, given = task_named(name), dict(given or {})
    given = _by_their_names(task, given)
    if method == "auto" and not task.subcommand:
        method = choose_method(task, given)
    elif method == "auto":
        raise ConfigError(f"no {task.subcommand} was named", fix=f"Give --method, one of {', '.join(task.methods)}")
    if method not in task.methods:
        fix = f"{nearest(method, task.methods)}Use {', '.join(method_names(task))}"
        raise ConfigError(f"unknown {task.subcommand or 'method'} {method!r} for {name}", fix=fix)
    entry = task.methods[method]
    refuse_misplaced(task, method, given)
    options = options_class(entry)(**given)
    engine = imported(entry.engine, {}, "engine", "MyEngine")
    return Built(engine(options, **entry.arguments), method, options)


def build_engine(name: str, method: str = "auto", given: Mapping[str, Any] | None = None) -> Engine:
    """The engine alone of what `build` gives."""
    return build(name, method, given).engine


def refuse_misplaced(task: Task, method: str, given: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for the first option that a method does not take, naming those that do."""
    takes = option_names(task.methods[method])
    for option in given:
        if option in takes:
            continue
        owners = _owners(task, option)
        if not owners:
            own = {name for each in task.methods.values() for name in option_names(each)}
            known = own | set(RunOptions.__dataclass_fields__)
            raise ConfigError(f"there is no option {flag(option)} here", fix=nearest(option, known) + "Leave it out")
        asked = method if task.subcommand else f"--method {method}"
        of = " or ".join(owners) if task.subcommand else f"--method {' or '.join(owners)}"
        raise ConfigError(f"{flag(option)} does not go with {asked}", fix=f"It belongs to {of}")


def _at_odds(task: Task, options: Sequence[str]) -> tuple[str, ...]:
    """The fewest of the options that no method takes together."""
    owners = {option: set(_owners(task, option)) for option in options}
    sets = (few for number in range(2, len(options) + 1) for few in combinations(options, number))
    return next(few for few in sets if not set.intersection(*(owners[option] for option in few)))


def _owners(task: Task, option: str) -> list[str]:
    """The methods that take an option."""
    return [name for name, each in task.methods.items() if option in option_names(each)]


def _by_their_names(task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options given by an older name, under the one they have."""
    names: dict[str, str] = {}
    for method in task.methods.values():
        names |= aliases_of(options_class(method))
    for older, name in names.items():
        if older in given and name in given:
            raise both_names(flag(name), flag(older))
    return {names.get(name, name): value for name, value in given.items()}


def both_names(name: str, older: str) -> ConfigError:
    """The error for an option that is given twice, by its name and by an older one."""
    return ConfigError(f"{name} and {older} are one option, given twice", fix=f"Leave {older} out")


def _has_weights(method: Method) -> bool:
    if not method.weights:
        return True
    from restore.zoo.resolver import available

    return method.weights in available()


class _Joined(NamedTuple):
    """A task from outside, and what it comes from, for messages."""

    task: Task
    origin: str


@cache
def _installed() -> Mapping[str, _Joined]:
    """Tasks of installed packages; one that cannot be loaded, or whose name is taken, is reported and left out."""
    from importlib.metadata import entry_points

    tasks: dict[str, _Joined] = {}
    for entry in entry_points(group=GROUP):
        try:
            _refuse_taken(entry.name, entry.value, tasks)
            tasks[entry.name] = _Joined(_checked(entry.load(), entry.value), entry.value)
        except Exception as error:  # whatever that package raises
            log.warning("the task %s of %s is left out: %s", entry.name, entry.value, error)
    return tasks


def _of_environment(names: str, installed: Mapping[str, _Joined]) -> dict[str, Task]:
    joined = dict(installed)
    for name in filter(None, map(str.strip, names.split(","))):
        origin = f"{name}:TASKS"
        listed = imported(origin, {}, "list of tasks", "TASKS")
        if not isinstance(listed, Mapping):
            raise ConfigError(f"TASKS of {name} is no mapping", fix="Give name -> restore.tasks.Task")
        for each, task in listed.items():
            _refuse_taken(each, origin, joined)
            joined[each] = _Joined(_checked(task, origin), origin)
    return {name: each.task for name, each in joined.items() if name not in installed}


def _refuse_taken(name: str, origin: str, joined: Mapping[str, _Joined]) -> None:
    """Raise `ConfigError` for a task from outside that would take the place of another task, or of a command."""
    if name in TASKS:
        holder = f"task {name!r} of restore itself"
    elif name in COMMANDS:
        holder = f"command {name!r} of restore itself"
    elif name in joined and joined[name].origin != origin:
        holder = f"task {name!r} of {joined[name].origin}"
    else:
        return
    raise ConfigError(f"the task {name!r} of {origin} would replace the {holder}", fix="Give it another name")


def _checked(task: Any, where: str) -> Task:
    if not isinstance(task, Task):
        raise ConfigError(f"{where} holds {type(task).__name__}, no task", fix="Give restore.tasks.Task")
    return task


def method_names(task: Task) -> Sequence[str]:
    """The names a user may give, "auto" where a rule chooses."""
    return tuple(task.methods) if task.subcommand else ("auto", *task.methods)

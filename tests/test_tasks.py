"""The table of tasks: which method is taken, what is refused and how, and tasks from outside."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from importlib import import_module, metadata
from pathlib import Path

import pytest

from restore import tasks
from restore.engines.deconv.engine import DeconvolutionEngine
from restore.engines.denoise.self_supervised import SelfSupervisedEngine
from restore.engines.denoise.zero_shot import ZeroShotEngine
from restore.errors import ConfigError
from restore.models.spec import ModelSpec
from restore.options import Options
from restore.tasks import (
    TASKS,
    Method,
    Task,
    all_tasks,
    build_engine,
    case_class,
    choose_method,
    method_names,
    option_names,
    options_class,
    refuse_misplaced,
    task_named,
)
from tests.engines.deblur.tiny import deblurrers
from tests.engines.upscale.tiny import upscalers

METHODS = [(name, method) for name, task in TASKS.items() for method in task.methods]

__all__ = ["deblurrers", "upscalers"]
NEEDED = {"deconv": {"psf": "disc:2"}}
NEEDED_BY_METHOD = {("upscale", "network"): {"weights": "upscale_x4"}}


def needed(task, method):
    """The options without which a method is not built."""
    return NEEDED.get(task, {}) | NEEDED_BY_METHOD.get((task, method), {})


@pytest.fixture(autouse=True)
def _no_tasks_from_outside(monkeypatch):
    monkeypatch.delenv(tasks.VARIABLE, raising=False)
    tasks._installed.cache_clear()
    yield
    tasks._installed.cache_clear()


class TestChoice:
    @pytest.mark.parametrize(
        ("task", "given", "method"),
        [
            ("denoise", {}, "network"),
            ("denoise", {"sigma": 5.0}, "network"),
            ("denoise", {"weights": "cbsn"}, "network"),
            ("denoise", {"model": "my.py:Net", "weights": "x.safetensors"}, "network"),
            ("denoise", {"preset": "fast"}, "zero-shot"),
            ("denoise", {"pd": 2, "sigma": 5.0}, "zero-shot"),
            ("denoise", {"algorithm": "nlm"}, "classical"),
            ("denoise", {"adapt": True}, "self-supervised"),
            ("denoise", {"budget": 60.0}, "self-supervised"),
            ("denoise", {"learner": "cbsn"}, "self-supervised"),
            ("deconv", {"psf": "disc:2"}, "measured"),
            ("deconv", {"psf": "disc:2", "psf_size": 9, "noise": 1.0}, "measured"),
            ("deconv", {"psf": "disc:2", "iterations": 20}, "rl"),
            ("deconv", {"psf": "disc:2", "weights": "deconv"}, "infwide"),
        ],
    )
    def test_the_first_method_that_takes_all_options(self, task, given, method):
        assert choose_method(TASKS[task], given) == method

    def test_without_the_shipped_weights(self, monkeypatch):
        monkeypatch.setattr("restore.zoo.resolver.available", dict)
        assert choose_method(TASKS["denoise"], {}) == "zero-shot"
        assert choose_method(TASKS["denoise"], {"sigma": 5.0}) == "zero-shot"
        assert choose_method(TASKS["denoise"], {"weights": "my.safetensors"}) == "network"
        assert isinstance(build_engine("denoise"), ZeroShotEngine)

    def test_weights_of_the_users_own_stand_for_the_shipped_ones(self):
        absent = replace(TASKS["denoise"].methods["network"], weights="not_there")
        task = Task("x", "x", {"first": absent, "second": replace(absent, weights="")})
        assert choose_method(task, {}) == "second" and choose_method(task, {"weights": "my.safetensors"}) == "first"

    def test_a_task_may_have_its_own_rule(self):
        task = Task("x", "x", TASKS["denoise"].methods, choose=f"{__name__}:by_level")
        assert choose_method(task, {"sigma": 50.0}) == "classical" and choose_method(task, {}) == "zero-shot"

    @pytest.mark.parametrize(
        ("given", "engine"),
        [({"preset": "quality"}, ZeroShotEngine), ({"fit": "folder"}, SelfSupervisedEngine)],
    )
    def test_what_is_built_is_what_is_chosen(self, given, engine):
        assert type(build_engine("denoise", given=given)) is engine


def by_level(given):
    return "classical" if given.get("sigma", 0) > 10 else "zero-shot"


class TestRefusals:
    @pytest.mark.parametrize(
        ("task", "method", "given", "message"),
        [
            (
                "denoise", "classical", {"preset": "fast"},
                "--preset does not go with --method classical. It belongs to --method zero-shot",
            ),
            (
                "deconv", "wiener", {"psf": "disc:2", "iterations": 9},
                "--iterations does not go with --method wiener. It belongs to --method rl or rl-tv",
            ),
            (
                "degrade", "poisson", {"sigma": 5.0},
                "--sigma does not go with poisson. It belongs to gaussian or speckle or correlated or developed or "
                "grain or resize",
            ),
            ("denoise", "auto", {"pd": 2, "budget": 60.0}, "--pd and --budget do not go together (--pd belongs"),
            ("denoise", "auto", {"presett": "fast"}, "there is no option --presett here. Did you mean 'preset'? Leave"),
            ("denoise", "auto", {"strengt": 0.5}, "there is no option --strengt here. Did you mean 'strength'? Leave"),
            ("denoise", "auto", {"zzz": 1}, "there is no option --zzz here. Leave it out"),
            (
                "denoise", "zeroshot", {},
                "unknown method 'zeroshot' for denoise. Did you mean 'zero-shot'? Use auto, network, zero-shot",
            ),
            (
                "degrade", "gausian", {},
                "unknown kind of damage 'gausian' for degrade. Did you mean 'gaussian'? Use gaussian, poisson, speckle",
            ),
            (
                "degrade", "auto", {"sigma": 5.0},
                "no kind of damage was named. Give --method, one of gaussian, poisson, speckle",
            ),
            (
                "denoise", "auto", {"sigma": 5.0, "adapt": True, "pd": 2, "learner": "cbsn"},
                "--adapt and --pd do not go together (--adapt belongs to self-supervised; --pd belongs to zero-shot)."
                " Leave one out",
            ),
            ("denoise", "auto", {"adapt": "a", "fit": "b"}, "--adapt and --fit are one option, given twice. Leave"),
            ("degrade", "camera", {"camera": "raw", "preset": "raw"}, "--camera and --preset are one option, given"),
            ("denoice", "auto", {}, "unknown task 'denoice'. Did you mean 'denoise'? Use denoise, deconv, deblur"),
            ("denoise", "network", {"sigma": -1}, "--sigma cannot be -1. It is a number, from 0 to 255"),
        ],
    )  # fmt: skip
    def test_what_goes_wrong_is_one_sentence(self, task, method, given, message):
        with pytest.raises(ConfigError) as caught:
            build_engine(task, method, given)
        assert str(caught.value).startswith(message)

    def test_what_goes_together_is_not_refused(self):
        refuse_misplaced(TASKS["denoise"], "zero-shot", {"preset": "fast", "pd": 2, "sigma": 3.0})

    def test_what_may_be_asked_for(self):
        assert method_names(TASKS["denoise"])[:2] == ("auto", "network")
        assert method_names(TASKS["degrade"])[0] == "gaussian"


@pytest.mark.usefixtures("upscalers", "deblurrers")
@pytest.mark.parametrize(("task", "name"), METHODS, ids=["-".join(pair) for pair in METHODS])
def test_every_method_is_there_and_builds(task, name):
    method = TASKS[task].methods[name]
    module, _, attribute = method.engine.partition(":")
    assert callable(getattr(import_module(module), attribute))
    assert issubclass(options_class(method), Options)
    assert set(needed(task, name)) <= set(option_names(method))
    engine = build_engine(task, name, needed(task, name))
    assert isinstance(engine.spec, ModelSpec) and engine.spec.task == task
    assert engine.spec.inputs == TASKS[task].inputs
    assert engine.fingerprint == build_engine(task, name, needed(task, name)).fingerprint


@pytest.mark.usefixtures("upscalers", "deblurrers")
def test_fingerprints_distinguish_methods():
    for task in TASKS:
        prints = {build_engine(task, name, needed(task, name)).fingerprint for name in TASKS[task].methods}
        assert len(prints) == len(TASKS[task].methods)


def test_a_method_stands_for_arguments_of_its_engine():
    assert isinstance(build_engine("deconv", "rl", {"psf": "disc:2"}), DeconvolutionEngine)
    damage = build_engine("degrade", "camera", {"preset": "dslr"})  # an older name
    assert damage.fingerprint == build_engine("degrade", "camera", {"camera": "dslr"}).fingerprint


class TestOutside:
    FILE = (
        "from restore.tasks import Method, Task\n"
        "toy = Method('tests.toys:Split', 'tests.toys:SplitOptions')\n"
        "TASKS = {'invert': Task('Negatives.', 'negative', {'toy': toy})}\n"
    )

    def test_a_module(self, monkeypatch):
        monkeypatch.setenv(tasks.VARIABLE, "tests.toys")
        assert list(all_tasks())[: len(TASKS)] == list(TASKS) and "window" in all_tasks() and "window" not in TASKS
        assert build_engine("window").spec.window == 3
        assert [each.name for each in build_engine("between", given={"count": 2}).spec.outputs] == ["step0", "step1"]

    def test_a_file_and_several_at_once(self, tmp_path, monkeypatch):
        (tmp_path / "my_file.py").write_text(self.FILE)
        monkeypatch.setenv(tasks.VARIABLE, f"tests.toys, {tmp_path / 'my_file.py'}")
        assert task_named("invert").summary == "Negatives." and task_named("double").ending == "double"
        assert build_engine("invert").fingerprint == "split False"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("import nothing_of_that_name", "cannot be imported (No module named 'nothing_of_that_name')"),
            ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
            ("TASK = {}", "has no TASKS"),
            ("TASKS = ['invert']", "TASKS of {file} is no mapping. Give name -> restore.tasks.Task"),
            (
                "TASKS = {'invert': print}",
                "{file}:TASKS holds builtin_function_or_method, no task. Give restore.tasks.Task",
            ),
        ],
    )
    def test_a_broken_file_is_named(self, tmp_path, monkeypatch, text, message):
        file = tmp_path / "broken.py"
        file.write_text(text)
        monkeypatch.setenv(tasks.VARIABLE, str(file))
        with pytest.raises(ConfigError) as caught:
            all_tasks()
        assert message.replace("{file}", str(file)) in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "holder"),
        [
            ("denoise", "task 'denoise' of restore itself"),
            ("eval", "command 'eval' of restore itself"),
            ("window", "task 'window' of tests.toys:TASKS"),
        ],
    )
    def test_no_task_takes_the_place_of_another(self, tmp_path, monkeypatch, caplog, name, holder):
        file = tmp_path / "my_file.py"
        file.write_text(self.FILE.replace("invert", name))
        monkeypatch.setenv(tasks.VARIABLE, f"tests.toys,{file}")
        says = f"the task {name!r} of {file}:TASKS would replace the {holder}. Give it another name"
        with pytest.raises(ConfigError) as caught:
            all_tasks()
        assert str(caught.value) == says
        if holder.endswith("itself"):
            monkeypatch.delenv(tasks.VARIABLE)
            tasks._installed.cache_clear()
            points = [metadata.EntryPoint(name, "tests.test_tasks:SHADOW", tasks.GROUP)]
            monkeypatch.setattr(metadata, "entry_points", lambda group: points)
            with caplog.at_level(logging.WARNING, "restore"):
                assert all_tasks() == TASKS
            assert (
                f"is left out: the task {name!r} of tests.test_tasks:SHADOW would replace the {holder}" in caplog.text
            )

    def test_an_installed_task_is_not_replaced_by_the_environment(self, tmp_path, monkeypatch):
        (tmp_path / "my_file.py").write_text(self.FILE)
        monkeypatch.setenv(tasks.VARIABLE, str(tmp_path / "my_file.py"))
        points = [metadata.EntryPoint("invert", "tests.test_tasks:SHADOW", tasks.GROUP)]
        monkeypatch.setattr(metadata, "entry_points", lambda group: points)
        with pytest.raises(ConfigError, match=r"would replace the task 'invert' of tests.test_tasks:SHADOW\. Give"):
            all_tasks()

    def test_the_names_of_commands_are_known(self):
        from restore.cli.main import _COMMANDS

        assert tuple(_COMMANDS) == tasks.COMMANDS

    def test_a_module_that_is_not_there_is_named(self, monkeypatch):
        monkeypatch.setenv(tasks.VARIABLE, "no_such_package.tasks")
        with pytest.raises(ConfigError, match=r"list of tasks 'no_such_package\.tasks:TASKS' cannot be imported"):
            task_named("denoise")

    def test_entry_points_and_what_cannot_be_loaded_is_reported_and_left_out(self, monkeypatch, caplog):
        points = [
            metadata.EntryPoint("shadow", "tests.test_tasks:SHADOW", tasks.GROUP),
            metadata.EntryPoint("gone", "no_such_package:TASK", tasks.GROUP),
            metadata.EntryPoint("wrong", "tests.test_tasks:by_level", tasks.GROUP),
        ]
        monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == "restore.tasks" else [])
        with caplog.at_level(logging.WARNING, "restore"):
            actual = all_tasks()
        assert list(actual) == [*TASKS, "shadow"]
        assert actual["shadow"] is SHADOW
        assert "the task gone of no_such_package:TASK is left out: No module named" in caplog.text
        assert "the task wrong of tests.test_tasks:by_level is left out" in caplog.text
        assert build_engine("shadow").spec.radius == 1


SHADOW = Task("Shades.", "shaded", {"toy": Method("tests.toys:Shade", "tests.toys:NoOptions")})


def test_options_of_two_methods_do_not_go_together():
    with pytest.raises(
        ConfigError, match=r"--algorithm and --preset do not go together \(--algorithm belongs to class"
    ):
        build_engine("denoise", given={"algorithm": "nlm", "preset": "fast"})


def test_the_table_and_the_help_import_no_numpy():
    code = "import sys, restore.cli.main as m, restore.tasks; m.commands(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def test_cases_of_the_tasks():
    from restore.degradations.blur_cases import BlurCase
    from restore.degradations.deblur_cases import DeblurCase
    from restore.degradations.noise_cases import NoiseCase
    from restore.degradations.upscale_cases import UpscaleCase

    kinds = {name: case_class(task) for name, task in TASKS.items()}
    assert kinds == {
        "denoise": NoiseCase,
        "deconv": BlurCase,
        "upscale": UpscaleCase,
        "deblur": DeblurCase,
        "degrade": None,
    }
    assert NoiseCase.standard() == {"clean": NoiseCase()} and BlurCase.standard() == {}
    with pytest.raises(ConfigError, match=r"restore.tasks:Task describes no cases of an evaluation"):
        case_class(Task("", "", {}, cases="restore.tasks:Task"))

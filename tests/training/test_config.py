from __future__ import annotations

import pytest
import torch

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.models import model_class
from restore.physics.random_blur import draw_bank
from restore.training.config import check_buildable, find_config, load_settings, parse_yaml, settings_from
from restore.training.run import build_objective

TEXT = """
name: mine
model: {arguments: {widths: [8], blocks: [1]}}
train: {steps: 10}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("-2E4", -2e4), ("1.5", 1.5), (".5", 0.5), ("12", 12), ("on", "on"), ("off", "off"),
        ("yes", "yes"), ("No", "No"), ("true", True), ("False", False), ("2026-01-01", "2026-01-01"),
        ("[1e-3, off]", [1e-3, "off"]), ("null", None), ("2h", "2h"), ("1:30.5", "1:30.5"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    """PyYAML alone takes 1e-3 for a word and off, yes, on for booleans."""
    got = parse_yaml(text)
    assert got == value and type(got) is type(value)


def test_infinities_are_floats():
    assert parse_yaml(".inf") == float("inf") and parse_yaml("-.Inf") == -float("inf")
    assert parse_yaml(".nan") != parse_yaml(".nan")


def test_values_arrive_in_their_types(config):
    settings = load_settings(
        config, ["train.learning_rate=1e-3", "train.budget=2h", "data.train=[a, b]", "data.crop=64"]
    )
    assert settings.train.learning_rate == 1e-3 and settings.train.budget == 7200.0
    assert settings.data.train == ("a", "b") and settings.data.crop == 64 and settings.train.steps == 10
    assert settings.objective.losses is None and settings.degradation.name == ""


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("train.leaning_rate=1", r"no setting 'train\.leaning_rate'. Did you mean 'learning_rate'\? It takes steps"),
        ("trian.steps=1", r"no setting 'trian'. Did you mean 'train'\?"),
        ("model.arguments.width=[8]", r"no argument 'width'. Did you mean 'widths'"),
        ("objective.losses.charbonier=1", r"Did you mean 'charbonnier'"),
        ("objective.name=supervise", r"no objective is called 'supervise'. Did you mean 'supervised'"),
        ("model.name=plain_une", r"no model is called 'plain_une'. Did you mean 'plain_unet'"),
        ("train.steps=many", r"train\.steps cannot be 'many'"),
        ("train.steps=0", r"train\.steps is 0\. Give a number above 0"),
        ("train.bad_steps=0", r"train\.bad_steps is 0"),
        ("train.ema=1", r"train\.ema is 1"),
        ("train.precision=off", r"train\.precision cannot be 'off'"),
        ("train.budget=soon", r"a budget cannot be 'soon'"),
        ("data.crop=63", r"data\.crop is 63\. This network needs a multiple of 2"),
        ("train.steps.more=1", r"no setting 'train\.steps\.more': steps holds a value"),
        ("train.steps", r"'train\.steps' is not a setting\. Write key=value"),
        ("degradation={name: noise, arguments: {sigmas: 5}}", r"no argument 'sigmas'\. Did you mean 'sigma'"),
        ("degradation={name: noise, arguments: {gray_every: 2}}", r"'gray_every'\. Did you mean 'grey_every'"),
        ("degradation={name: noise, arguments: {weights: {snow: 1}}}", r"degradation\.arguments describe no noise"),
        ("degradation={name: blur, arguments: {sigma: [5, 0]}}", r"degradation\.arguments describe no blur"),
        ("degradation={name: noise, arguments: {weights: 3}}", "'noise': argument weights cannot be 3"),
        ("degradation.name=nois", "no degradation is called 'nois'. Did you mean 'noise'"),
        ("degradation={name: none, arguments: {sigma: 3}}", "degradation 'none' has no argument 'sigma'"),
        ("objective.arguments.gray_every=2", "objective 'supervised' has no argument 'gray_every'"),
        (
            "objective={name: blind_spot, losses: {l1: 1}}",
            r"'blind_spot' does not use objective\.losses\. Leave it out",
        ),
        ("objective={name: noise2void, arguments: {share: lots}}", "'noise2void': argument share cannot be 'lots'"),
        ("train={a: 1, a: 2}", r"key 'a' is given twice"),
        ("train=[", "not YAML"),
    ],
)
def test_mistakes_are_refused(config, word, says):
    with pytest.raises(ConfigError, match=says):
        check_buildable(load_settings(config, [word]))


def test_an_adversarial_objective_from_a_config(config):
    words = ["objective.name=adversarial", "objective.arguments.discriminator={width: 8, depth: 2}"]
    settings = load_settings(config, [*words, "objective.arguments.kind=hinge"])
    check_buildable(settings)
    assert settings.objective.arguments["kind"] == "hinge"
    with pytest.raises(ConfigError, match=r"no argument 'widht'. Did you mean 'width'"):
        check_buildable(load_settings(config, [words[0], "objective.arguments.discriminator.widht=8"]))
    with pytest.raises(ConfigError, match="Did you mean 'hinge'"):
        check_buildable(load_settings(config, [*words, "objective.arguments.kind=hing"]))
    with pytest.raises(ConfigError, match=r"discriminator cannot be 3\. Give its arguments"):
        check_buildable(load_settings(config, [words[0], "objective.arguments.discriminator=3"]))
    with pytest.raises(ConfigError, match=r"objective\.arguments\.every is 0"):
        check_buildable(load_settings(config, [*words, "objective.arguments.every=0"]))


def test_deconvolution_is_told_which_degradation_it_needs(config):
    with pytest.raises(ConfigError, match=r"that says its PSF\. Use degradation\.name: blur"):
        check_buildable(load_settings(config, ["objective.name=deconvolution", "degradation.name=noise"]))


def test_reading_a_config_builds_nothing(config, monkeypatch):
    """A config with a loss whose weights are not on this machine can be read, shown and evaluated."""
    monkeypatch.setattr("restore.losses.table.build_losses", lambda wanted: pytest.fail("losses were built"))
    monkeypatch.setattr("restore.objectives.build", lambda *args, **rest: pytest.fail("an objective was built"))
    settings = load_settings(config, ["objective.losses.perceptual={backbone: vgg19}", "model.name=nowhere:Net"])
    assert settings.objective.losses == {"perceptual": {"backbone": "vgg19"}}


def test_errors_name_the_file(config):
    config.write_text(TEXT + "name: again\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: the key 'name' is given twice"):
        load_settings(config)
    config.write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: a config is a mapping"):
        load_settings(config)
    config.write_text(TEXT + "nmae: x\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: there is no setting 'nmae'. Did you mean 'name'"):
        load_settings(config)


@pytest.fixture
def small_bank(monkeypatch):
    monkeypatch.setattr("restore.degradations.blur.draw_bank", lambda count: draw_bank(8))


def test_packaged_configs_load_by_name(small_bank):
    assert load_settings("denoise/plain_unet").name == "denoise"
    for name in ("wiener_unet", "wiener_unet_low_light", "infwide", "dwdn"):
        settings = load_settings(f"deconv/{name}")
        assert settings.task == "deconv" and build_objective(settings).averaged.spec().task == "deconv"
    assert build_objective(load_settings("denoise/cbsn")).averaged.spec().parameters == 3_656_131
    compact = build_objective(load_settings("denoise/cbsn_compact")).averaged
    assert compact.spec().parameters == build_objective(load_settings("denoise/cbsn_camera")).averaged.spec().parameters
    assert build_objective(load_settings("denoise/ap_bsn")).averaged.spec().blind
    for name in ("noise2void", "neighbor2neighbor", "blind2unblind"):
        assert type(build_objective(load_settings(f"denoise/{name}"))).__name__.lower() == name
    with pytest.raises(ConfigError, match=r"'blur': argument regime.* cannot be 'dusk'"):
        build_objective(load_settings("deconv/dwdn", ["degradation.arguments.regime=dusk"]))
    with pytest.raises(ConfigError, match="Did you mean 'denoise/plain_unet'"):
        find_config("denoise/plain_net")


def test_a_config_names_code_beside_it(config, monkeypatch, tmp_path):
    """A class, a loss and an objective in a file; relative to the config, not to where the program runs."""
    (tmp_path / "code.py").write_text(
        "from torch import nn\n"
        "from restore.models.plain_unet import PlainUNet\n"
        "class Net(PlainUNet):\n    pass\n"
        "def loss(x, y):\n    return (x - y).abs().mean()\n"
        "def learn(net, losses=None, *, share: float = 1.0):\n"
        "    from restore.objectives.supervised import Supervised\n"
        "    made = Supervised(net, losses)\n    made.share = share\n    return made\n"
        "oops = 1\n"
    )
    config.write_text(
        "name: x\nmodel: {name: 'code.py:Net'}\nobjective: {name: 'code.py:learn', losses: {'code.py:loss': 1.0}}"
    )
    monkeypatch.chdir("/")
    settings = load_settings(config)
    assert settings.model.name == f"{(tmp_path / 'code.py').resolve()}:Net"
    assert model_class(settings.model.name) is model_class(settings.model.name)
    check_buildable(settings)
    (loss,) = build_objective(settings).losses.values()
    assert loss[1].__name__ == "loss" if hasattr(loss[1], "__name__") else loss[1].func.__name__ == "loss"
    with pytest.raises(ConfigError, match=r"code\.py:learn' does not use degradation\. Leave it out"):
        check_buildable(load_settings(config, ["degradation.name=noise"]))
    shares = load_settings(config, ["objective.arguments.share=0.5"])
    assert build_objective(shares).share == 0.5
    with pytest.raises(ConfigError, match=r"has no argument 'shar'\. Did you mean 'share'"):
        check_buildable(load_settings(config, ["objective.arguments.shar=0.5"]))
    for name, says in (
        ("code.py:Nett", "has no Nett"),
        ("code.py:oops", "not a torch.nn.Module class"),
        ("nowhere.py:Net", "no such file of code"),
    ):
        config.write_text(f"name: x\nmodel: {{name: '{name}'}}")
        with pytest.raises(ConfigError, match=says):
            check_buildable(load_settings(config))
    (tmp_path / "broken.py").write_text("1 / 0\n")
    config.write_text("name: x\nmodel: {name: 'broken.py:Net'}")
    with pytest.raises(
        ConfigError, match=r"cannot be imported \(ZeroDivisionError: division by zero\). Check the file"
    ):
        check_buildable(load_settings(config))


def test_a_config_names_a_degradation_beside_it(config, monkeypatch, tmp_path):
    (tmp_path / "damage.py").write_text(
        "from restore.degradations.degradation import CLEAN, Sample\n"
        "class Darker:\n"
        "    roles, conditions = CLEAN, ()\n"
        "    def __init__(self, by: float):\n        self.by = by\n"
        "    def draw(self, pictures, seed, step, first_index):\n"
        "        return Sample({'picture': pictures['clean'] * self.by}, {'result': pictures['clean']})\n"
    )
    config.write_text(TEXT + "degradation: {name: 'damage.py:Darker', arguments: {by: '0.5'}}\n")
    monkeypatch.chdir("/")
    settings = load_settings(config)
    assert settings.degradation.name == f"{(tmp_path / 'damage.py').resolve()}:Darker"
    check_buildable(settings)
    sample = build_objective(settings).damaged(Batch({"clean": torch.ones(1, 3, 8, 8)}, 0, 0, 0))
    assert (sample.inputs["picture"] == 0.5).all() and (sample.targets["result"] == 1).all()
    with pytest.raises(ConfigError, match="Darker' needs the argument 'by'"):
        check_buildable(load_settings(config, ["degradation.arguments={}"]))


def test_settings_from_plain_data():
    assert settings_from({"name": "x", "train": {"budget": "90s"}}).train.budget == 90
    with pytest.raises(ConfigError, match="name"):
        settings_from({})

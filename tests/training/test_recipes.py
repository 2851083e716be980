"""The packaged configs: one for each shipped weights file, equal to its label; each trains, resumes and evaluates."""

from __future__ import annotations

import functools
import itertools
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from restore.errors import ConfigError, WeightsError
from restore.evaluation.protocol import EvaluationProtocol
from restore.losses.backbones import load_features
from restore.models import build
from restore.training.config import check_buildable, find_config, load_settings, load_stages, packaged, recipes
from restore.training.export import export
from restore.training.loop import Progress
from restore.training.settings import Settings
from restore.training.stages import finished, stage_folders, train_stages
from restore.zoo.resolver import PACKAGED
from restore.zoo.weights import label_of, read_network
from tests.data.conftest import save, scene

loaded = functools.cache(load_settings)
SHIPPED = sorted(path.stem for path in PACKAGED.glob("*.safetensors"))
BEGINS = {
    "cbsn": "", "deblur": "", "deconv": "deconv_prior", "deconv_low_light": "denoise", "deconv_prior": "denoise_white",
    "denoise": "", "denoise_white": "denoise", "dereflect": "", "upscale_x2": "upscale_x4", "upscale_x4": "",
    "upscale_x4_gan": "upscale_x4", "upscale_x4_real": "upscale_x4",
}  # fmt: skip
"""What the cards' commands name behind --init-from and --denoiser; of `denoise` that is its own first stage."""
MIXTURES = {
    "denoise": {
        "developed",
        "grain",
        "camera",
        "gaussian",
        "poisson",
        "correlated",
        "none",
        "resize",
        "jpeg",
        "speckle",
    },
    "denoise_white": {"gaussian", "poisson", "correlated", "none", "speckle", "salt_pepper", "jpeg"},
    "deconv_prior": {"gaussian"},
    "cbsn": {"camera"},
}
SMALL = {
    "denoise/cbsn": ["model.arguments={width: 4}", "data.crop=60"],
    "denoise/ap_bsn": ["model.arguments={width: 4, blind: true}", "data.crop=60"],
    "deconv/infwide": ["degradation.arguments.bank=8"],
    "deconv/dwdn": ["degradation.arguments.bank=8"],
    "deblur/compact": ["data.crop=80"],
    "deblur/nafnet32": [
        "model.arguments={network: nafnet, heads: 2, arguments: {width: 4, encoder_blocks: [1, 1], "
        "decoder_blocks: [1, 1]}}",
        "data.crop=80",
    ],
    "dereflect/compact": [
        "model.arguments={embedding: efficientnet_lite0, widths: [8, 12], blocks: [1, 1, 1]}",
    ],
    "upscale/esrgan": ["model.arguments={width: 8, blocks: 1, growth: 4}", "data.crop=128"],
}
"""Of configs at a paper's size; shipped recipes keep their networks, and so do those that cannot be smaller."""


@pytest.mark.parametrize("name", SHIPPED)
def test_one_config_makes_each_shipped_file(name):
    made_by = [config for config in packaged() if loaded(config).weights == name]
    assert made_by == [recipes()[name]]
    settings, label = loaded(made_by[0]), label_of(PACKAGED / f"{name}.safetensors")
    assert (settings.name, settings.task) == (label.card.name, label.card.task)
    assert (settings.model.name, settings.model.arguments) == (label.model, label.arguments)
    stages = load_stages(made_by[0])
    assert (stages[-1].model, stages[-1].data) == (settings.model, settings.data)
    own = name in ("deblur", "denoise", "dereflect")  # whose stages grow, or show pictures at other sizes
    assert own or all((each.model, each.data) == (settings.model, settings.data) for each in stages)
    assert settings.begin == BEGINS[name]
    assert not settings.begin or f"{settings.begin}.safetensors" in label.card.command or name == "denoise_white"


def test_every_recipe_makes_something_shipped():
    assert sorted(recipes()) == SHIPPED
    names = {loaded(config).name for config in packaged()}
    assert len(names) == len(packaged()), "two configs would share a folder of runs"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_schedule_is_the_cards(name):
    """Budgets, batches and learning rates that the card's command gives; the shares are the minutes of each run."""
    settings, card = loaded(recipes()[name]), label_of(PACKAGED / f"{name}.safetensors").card
    words = card.command.split()
    minutes = [float(after.rstrip("m;")) for word, after in itertools.pairwise(words) if word == "--budget"]
    if name == "deconv_low_light":
        assert [60 * each.share for each in settings.stages] == [60 * m for m in (*minutes, 22)]
        assert settings.train.budget == pytest.approx(card.seconds, rel=0.01)
        assert [each.train.learning_rate for each in load_stages(recipes()[name])] == [5e-4, 3e-4, 2e-4]
        assert [each.objective.losses for each in load_stages(recipes()[name])][1:] == [{"charbonnier": 1}, {"l2": 1}]
        return
    last = load_stages(recipes()[name])[-1].train
    minutes = minutes or [last.budget / 60]  # else the card's command leaves it to the config
    assert last.budget == pytest.approx(60 * minutes[-1]) and last.budget == pytest.approx(card.seconds, rel=0.01)
    for option, value in (("--batch", last.batch), ("--learning-rate", last.learning_rate)):
        assert option not in words or float(words[words.index(option) + 1]) == value


def test_degradations_are_those_of_the_recipes():
    for name, kinds in MIXTURES.items():
        damage = loaded(recipes()[name]).degradation
        assert damage.name == "noise" and set(damage.arguments["weights"]) == kinds
        assert sum(damage.arguments["weights"].values()) == pytest.approx(1)
    for name, regime in (("deconv", "gaussian"), ("deconv_low_light", "low-light")):
        damage = loaded(recipes()[name]).degradation
        assert (damage.name, damage.arguments["regime"]) == ("blur", regime)
    first, second, *_ = load_stages("denoise/plain_unet")
    assert (first.degradation.arguments["clipped"], second.degradation.arguments["clipped"]) == (0.85, 0.75)


@pytest.fixture
def random_features(monkeypatch):
    """Backbones with random weights, in place of files that nobody need have."""

    def load(name, **options):
        return load_features(name, **{**options, "weights": "random"})

    monkeypatch.setattr("restore.losses.perceptual.load_features", load)
    monkeypatch.setattr("restore.objectives.reflection.load_features", load)


@pytest.mark.parametrize("config", packaged())
def test_every_config_loads_and_can_be_built(config, random_features):
    if config.startswith("denoise"):
        evaluation = load_settings(config).evaluation
        assert len(evaluation.cases) == 10 and evaluation.rounded
    small = [word for word in SMALL.get(config, ()) if "bank" in word]  # thousands of PSFs take a minute
    for stage in load_stages(config, small):
        check_buildable(stage)
    assert f"restore train {config} " in find_config(config).read_text(), "its first lines say how it is run"


def test_configs_of_deconvolution_are_evaluated_alike():
    cases = {name: loaded(f"deconv/{name}").evaluation for name in ("wiener_unet", "dwdn", "infwide")}
    assert len(cases["wiener_unet"].cases) == 6
    assert cases["dwdn"] == cases["infwide"] == cases["wiener_unet"]


def test_super_resolution_at_the_papers_sizes():
    """SRGAN begins as SRResNet does; steps, rates, batches and crops are those of the papers."""
    alone, (first, second) = loaded("upscale/srresnet"), load_stages("upscale/srgan")
    assert (alone.model, alone.objective, alone.degradation) == (first.model, first.objective, first.degradation)
    assert alone.train == first.train and (second.begin, second.model) == ("", first.model)
    assert [each.train.steps for each in (first, second)] == [1_000_000, 200_000]
    assert {(each.train.learning_rate, each.train.batch, each.data.crop) for each in (first, second)} == {
        (1e-4, 16, 96)
    }
    stages = load_stages("upscale/esrgan")
    assert [(each.train.steps, each.train.learning_rate) for each in stages] == [(1_000_000, 2e-4), (400_000, 1e-4)]
    assert {(each.train.batch, each.data.crop) for each in stages} == {(16, 128)}
    assert [each.objective.name for each in stages] == [first.objective.name, second.objective.name]
    with torch.device("meta"):
        counts = [build(each.model.name, **each.model.arguments).spec().parameters for each in (second, stages[1])]
    assert counts == [1_549_462, 16_697_987]


def test_stages_divide_the_schedule_and_words_hold_for_all(tmp_path):
    words = ["train.steps=159", "train.budget=53m", "train.learning_rate=1e-5", "model.arguments.steps=3"]
    stages = load_stages("deconv/wiener_unet_low_light", words)
    assert [each.train.steps for each in stages] == [62, 75, 22]
    assert [each.train.budget for each in stages] == pytest.approx([1240, 1500, 440])
    assert {each.train.learning_rate for each in stages} == {1e-5} and {
        each.model.arguments["steps"] for each in stages
    } == {3}
    assert [each.begin for each in stages] == ["denoise", "", ""] and not any(each.stages for each in stages)
    assert len(load_stages("deconv/wiener_unet_low_light", ["stages=[]"])) == 1
    path = tmp_path / "mine.yaml"
    for stage, says in (
        ("{shares: 2}", r"no setting 'stages\.0\.shares'. Did you mean 'share'"),
        ("{share: 0}", "a share is 0"),
        ("{settings: {train.steps: 5}}", r"train\.steps cannot differ between stages"),
        ("{settings: {train.leaning_rate: 5}}", r"no setting 'train\.leaning_rate'. Did you mean 'learning_rate'"),
    ):
        path.write_text(f"name: x\nstages: [{stage}]")
        with pytest.raises(ConfigError, match=says):
            load_stages(path)


STAGED = """
name: staged
model: {arguments: {widths: [4], blocks: [1], condition_channels: 1}}
degradation: {name: noise, arguments: {weights: {gaussian: 1.0}}}
data: {crop: 16, held_out: 1, train: [PHOTOS], cache: CACHE}
train: {steps: 9, batch: 2, device: cpu, precision: fp32}
stages:
  - {share: 1}
  - {share: 2, settings: {train.learning_rate: 1e-4}}
"""


@pytest.fixture
def photos(tmp_path) -> Path:
    for number in range(4):
        save(tmp_path / "photos" / f"{number}.png", scene(number, 128, 136))
    return tmp_path / "photos"


@pytest.fixture
def staged(tmp_path, photos) -> Path:
    path = tmp_path / "staged.yaml"
    path.write_text(STAGED.replace("PHOTOS", str(photos)).replace("CACHE", str(tmp_path / "cache")))
    return path


def states(folder: Path, stages: tuple[Settings, ...], **facts: str) -> dict[str, torch.Tensor]:
    path = folder / "out.safetensors"
    export(stage_folders(stages, folder)[-1], stages[-1], path, **facts)
    return read_network(path).net.state_dict()


def stopped_after(steps: int, stages: tuple[Settings, ...], folder: Path, resume: bool = False) -> Progress:
    """Train until `steps` steps of a stage are done and stop as Ctrl-C does."""

    def stop(entry: dict[str, object]) -> None:
        if entry["step"] == steps and "left_seconds" in entry:
            signal.raise_signal(signal.SIGINT)

    logged = tuple(replace(each, train=replace(each.train, log_every=1)) for each in stages)
    return train_stages(logged, folder, resume=resume, notify=stop)


def test_stages_follow_each_other_and_resume_exactly(staged, tmp_path):
    stages = load_stages(staged)
    whole = train_stages(stages, tmp_path / "whole", command="restore train staged.yaml")
    assert whole.step == 6 and finished(stages, tmp_path / "whole")
    card = export(tmp_path / "whole" / "stage2", stages[1], tmp_path / "whole.safetensors")
    assert [(each.steps, each.command) for each in card.runs] == [
        (3, "restore train staged.yaml"),
        (6, "restore train staged.yaml"),
    ]
    assert card.steps == 9 and card.machine == card.runs[1].machine != "" and card.command == card.runs[1].command
    parts = tmp_path / "parts"
    assert stopped_after(2, stages, parts).interrupted and not (parts / "stage2").exists()
    assert not finished(stages, parts)
    assert stopped_after(4, stages, parts, resume=True).step == 4  # of the second stage
    assert train_stages(stages, parts, resume=True).step == 6
    expected, got = states(tmp_path / "whole", stages), states(parts, stages)
    assert all(torch.equal(got[name], value) for name, value in expected.items())
    first = read_network(tmp_path / "whole.safetensors").net.state_dict()
    export(tmp_path / "whole" / "stage1", stages[0], tmp_path / "one.safetensors")
    assert any(
        not torch.equal(first[name], v)
        for name, v in read_network(tmp_path / "one.safetensors").net.state_dict().items()
    )


def test_a_stage_begins_with_the_average_of_the_one_before(staged, tmp_path):
    still = ["train.learning_rate=1e-12", "train.final_learning_rate=1e-12"]
    train_stages(load_stages(staged, ["stages=[]"]), tmp_path / "first")
    export(tmp_path / "first", load_settings(staged), tmp_path / "first.safetensors", command="first")
    begun = [*still, f"begin={tmp_path / 'first.safetensors'}"]
    stages = load_stages(staged, begun)
    train_stages(stages, tmp_path / "second", command="second")
    got, expected = states(tmp_path / "second", stages), read_network(tmp_path / "first.safetensors").net.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, atol=1e-3, rtol=1e-3)
    card = read_network(tmp_path / "second" / "out.safetensors").card
    assert card is not None
    assert [(each.steps, each.command) for each in card.runs] == [(9, "first"), (3, "second"), (6, "second")]
    assert card.steps == 9


def test_weights_of_another_network_are_no_beginning(staged, tmp_path):
    with pytest.raises(WeightsError, match="these are not the weights of plain_unet as described"):
        train_stages(load_stages(staged, ["begin=denoise"]), tmp_path / "run")
    with pytest.raises(WeightsError, match="do not fit into this network"):
        words = ["begin=denoise", "model={name: wiener_unet, arguments: {widths: [4, 6]}}"]
        blur = ["objective.name=deconvolution", "degradation={name: blur, arguments: {bank: 8}}"]
        train_stages(load_stages(staged, [*words, *blur]), tmp_path / "run")
    assert not list((tmp_path).rglob("checkpoint_*"))


@pytest.mark.slow
@pytest.mark.parametrize("config", packaged())
def test_every_config_trains_resumes_exactly_and_evaluates(config, tmp_path, photos, capfd, random_features):
    from restore.cli.main import main

    words = [
        f"data.train=[{photos}]", f"data.cache={tmp_path / 'cache'}", "data.exclude=[]", "data.held_out=1",
        "data.scales=[1.0]", "data.crop=40", "train.budget=null", "train.steps=10", "train.batch=1",
        "train.device=cpu", "train.precision=fp32", *SMALL.get(config, ()),
    ]  # fmt: skip
    stages = load_stages(config, words)
    assert sum(each.train.steps for each in stages) == 10
    train_stages(stages, tmp_path / "whole")
    assert stopped_after(2, stages, tmp_path / "parts").interrupted
    train_stages(stages, tmp_path / "parts", resume=True)
    expected, got = states(tmp_path / "whole", stages), states(tmp_path / "parts", stages)
    assert all(torch.equal(got[name], value) for name, value in expected.items())
    weights = tmp_path / "whole" / "out.safetensors"
    cases = stages[-1].evaluation.cases
    if cases == EvaluationProtocol().cases:
        return  # there is no protocol for its task
    evaluated = ["eval", config, str(photos), "--weights", str(weights), "--cases", next(iter(cases))]
    limit = 80 if config.startswith("deblur") else 48  # what blur leaves of them must be judged
    small = [
        "--first",
        "1",
        f"evaluation.limit={limit}",
        "--metrics",
        "psnr",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--json",
    ]
    capfd.readouterr()
    code = main([*evaluated, *small])
    said = capfd.readouterr()
    assert code == 0, said.err
    assert all(each["rows"] for each in json.loads(said.out)["cases"].values())

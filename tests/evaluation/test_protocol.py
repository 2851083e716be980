import pytest

from restore.degradations.noise_cases import NoiseCase
from restore.errors import ConfigError
from restore.evaluation.protocol import EvaluationProtocol
from restore.metrics.table import resolve
from restore.training.config import find_config, load_settings, parse_yaml, settings_from


def test_packaged_protocol_holds_what_is_reported():
    protocol = load_settings("denoise/plain_unet").evaluation
    assert protocol.cases["gaussian25"] == NoiseCase(noise="gaussian", level=25)
    assert protocol.cases["poisson30_unclipped"] == NoiseCase(noise="poisson", level=30, clipped=False)
    assert protocol.cases["clean"] == NoiseCase() and protocol.cases["gaussian15_jpeg80"].jpeg == 80
    levels = {(case.level, case.clipped) for case in protocol.cases.values() if case.noise == "gaussian"}
    assert {(sigma, clipped) for sigma in (15, 25, 50) for clipped in (True, False)} <= levels
    assert resolve(protocol.metrics) == ["psnr", "ssim_valid11"] and protocol.rounded


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("evaluation.bordr=4", "no setting 'evaluation.bordr'. Did you mean 'border'"),
        ("evaluation.cases.mine={nois: gaussian, level: 3}", "'evaluation.cases.mine.nois'. Did you mean 'noise'"),
        ("evaluation.cases.mine={noise: gauss, level: 3}", "evaluation.cases.mine.noise cannot be 'gauss'"),
        ("evaluation.cases.mine={noise: gaussian}", "noise gaussian cannot have level 0"),
        ("evaluation.cases.mine={level: 3}", "noise none cannot have level 3"),
        ("evaluation.cases.mine={jpeg: 101}", "a JPEG has a quality of 1 to 100"),
        ("evaluation.cases.mine={noise: gaussian, level: 3, clipped: false, jpeg: 80}", "its values are clipped"),
        ("evaluation.every=0", "evaluation.every is 0. Give 1 or more"),
    ],
)
def test_mistakes_are_named(word, text):
    with pytest.raises(ConfigError) as caught:
        load_settings("denoise/plain_unet", [word])
    assert text in str(caught.value)


def test_a_config_without_a_protocol_leaves_pictures_clean():
    tree = parse_yaml(find_config("denoise/plain_unet").read_text())
    del tree["evaluation"]
    assert settings_from(tree).evaluation.cases == {"clean": NoiseCase()}


def test_cases_by_name():
    protocol = EvaluationProtocol(cases={"a": NoiseCase(), "gaussian25": NoiseCase(noise="gaussian", level=25)})
    assert list(protocol.choose("gaussian25,a")) == ["gaussian25", "a"] and protocol.choose("") == protocol.cases
    with pytest.raises(ConfigError, match=r"no case 'gaussian52'. Did you mean 'gaussian25'"):
        protocol.choose("gaussian52")


def test_a_case_says_every_choice():
    assert NoiseCase(noise="gaussian", level=25, jpeg=80).describe() == (
        "white Gaussian noise, sigma 25 of 255 (numpy default_rng(picture index)), clipped and rounded to 8 bits, "
        "then JPEG of quality 80 (4:2:0)"
    )
    assert "30 photons" in NoiseCase(noise="poisson", level=30, clipped=False).describe()
    assert "not clipped" in NoiseCase(noise="poisson", level=30, clipped=False).describe()

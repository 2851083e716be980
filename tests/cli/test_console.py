"""What is printed: JSON as it comes, progress with and without a terminal."""

from __future__ import annotations

import io
import json
import sys

import pytest

from restore.cli.console import Bar, JsonReport, one_line


def test_json_is_whole_at_every_length(capsys):
    for entries in ([], [{"a": 1}], [{"a": 1}, {"b": "é\n"}]):
        report = JsonReport("denoise")
        for entry in entries:
            report.add(entry)
        report.finish(exit_code=0)
        out = capsys.readouterr().out
        assert json.loads(out) == {"command": "denoise", "files": entries, "exit_code": 0}
        assert out.isascii() and out.endswith("}\n")


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("restore.cli.console.time.monotonic", lambda: now[0])
    with Bar(quiet=False) as bar:
        bar.start("1/2 a.png")
        for step in range(10):
            now[0] = step * 2.5
            bar.update(step / 10)
    assert capsys.readouterr().err == "1/2 a.png: 40%\n1/2 a.png: 80%\n"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize("quiet", [False, True])
def test_on_a_terminal_progress_is_a_bar_that_goes_away(monkeypatch, quiet):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with Bar(quiet=quiet) as bar:
        bar.start("[red]x.png")
        bar.update(0.5)
    text = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert ("[red]x.png" in text, text == "") == (not quiet, quiet)
    if not quiet:
        assert "50 %" in text and text.endswith("\x1b[2K")


def test_a_name_is_always_one_line():
    assert one_line("a\nb\r.png") == "a\\nb\\r.png"

"""What is published beside the code agrees with pyproject.toml."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def text(name):
    return (ROOT / name).read_text("utf-8")


def test_the_conda_recipe_asks_for_the_same_packages():
    recipe = text("packaging/conda/recipe.yaml")
    run = re.search(r"\n  run:\n((?:    .*\n)+)", recipe)[1]
    asked = {line.removeprefix("    - ").replace(" ", "") for line in run.splitlines()}
    wanted = {*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cli"]}
    assert asked - {"python>=${{python_min}}"} - {each for each in asked if "#" in each} == wanted
    assert f'python_min: "{PROJECT["requires-python"].removeprefix(">=")}"' in recipe
    name, function = next(iter(PROJECT["scripts"].items()))
    assert f"- {name} = {function}\n" in recipe


def test_one_version_is_named_everywhere():
    assert f"\nversion: {PROJECT['version']}\n" in text("CITATION.cff")
    assert f'\n  version: "{PROJECT["version"]}"\n' in text("packaging/conda/recipe.yaml")


def test_the_readme_begins_with_what_runs_on_a_fresh_machine_and_shows_on_pypi():
    readme = text("README.md")
    assert "pip install fastgmm" in readme[: readme.index("```console")]
    commands = [line.split("#")[0].strip() for line in readme.split("```")[1].splitlines()[1:3]]
    assert commands == ["make demo", "make test"]
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert len(links) > 2
    assert all(link.startswith("https://") for link in links)
    assert not {each for each in PROJECT["urls"].values() if not each.startswith("https://")}

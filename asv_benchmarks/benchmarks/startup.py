"""What a fresh process pays: each figure from processes of their own."""

import os

from comparisons.startup import command_seconds, first_fit_seconds, import_seconds
from harness.throughput import environment_at_best

from .sizes import SMALL

N_REPEATS = 1 if SMALL else 5


class FirstFit:
    """The first fit, with an empty numba cache and with a filled one."""

    timeout = 600

    def setup_cache(self):
        environment, _ = environment_at_best(os.environ)
        return first_fit_seconds(environment, n_repeats=N_REPEATS)

    def track_cold(self, seconds):
        return seconds[0]

    def track_warm(self, seconds):
        return seconds[1]

    track_cold.unit = track_warm.unit = "seconds"


class Import:
    """Imports, of which the first is the yardstick."""

    params = (["sklearn.mixture", "fastgmm", "fastgmm.estimators.gaussian_mixture"],)
    param_names = ("module",)

    def track_import(self, module):
        return import_seconds([f"import {module}"], os.environ, n_repeats=N_REPEATS)[0]

    track_import.unit = "seconds"


class CommandLine:
    """What is answered before anything is fitted: help, and what is wrong."""

    params = (["--help", "fit nope.csv -k 2", "fit --wrong", "predict - -m bad.fgm"],)
    param_names = ("arguments",)

    def track_command(self, arguments):
        return command_seconds(arguments, os.environ, n_repeats=N_REPEATS)

    track_command.unit = "seconds"

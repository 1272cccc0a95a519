"""scikit-learn's callbacks, and what fits need of them where scikit-learn is older than 1.9."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback._callback_support import callback_management_context
except ImportError:

    class _Task:
        """A task in the tree that callbacks see."""

        def __init__(self, name: str, number: int, max_subtasks: int, parent: Any) -> None:
            self.task_name = name
            self.task_id = number
            self.max_subtasks = max_subtasks
            self.parent = parent
            self.callbacks: list[Any] = [] if parent is None else parent.callbacks
            self._n_subtasks = 0

        def subcontext(self, task_name: str, max_subtasks: int = 0) -> _Task:
            self._n_subtasks += 1
            return _Task(task_name, self._n_subtasks - 1, max_subtasks, self)

        def call_on_fit_task_begin(self, **seen: Any) -> None:
            self._call("on_fit_task_begin", **seen)

        def call_on_fit_task_end(self, **seen: Any) -> bool:
            return self._call("on_fit_task_end", **seen)

        def _call(
            self, hook: str, estimator: Any, reconstruction_attributes: Any = None, **seen: Any
        ) -> bool:
            stop = False
            for callback in self.callbacks:
                method = getattr(callback, hook)
                asked = inspect.signature(method).parameters.values()
                names = {each.name for each in asked if each.kind == each.KEYWORD_ONLY}
                if "fitted_estimator" in names and "fitted_estimator" not in seen:
                    attributes = reconstruction_attributes
                    attributes = attributes() if callable(attributes) else attributes
                    seen["fitted_estimator"] = None
                    if attributes is not None:
                        seen["fitted_estimator"] = copy.copy(estimator)
                        vars(seen["fitted_estimator"]).update(attributes)
                stop |= bool(method(estimator, self, **{name: seen.get(name) for name in names}))
            return stop

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Adds callbacks in the protocol of scikit-learn 1.9 to an estimator."""

        def set_callbacks(self, *callbacks: Any) -> Self:
            """Set the callbacks.

            Parameters
            ----------
            *callbacks : objects
                With the methods `setup`, `on_fit_task_begin`, `on_fit_task_end` and `teardown`.

            Returns
            -------
            self
            """
            hooks = ("setup", "on_fit_task_begin", "on_fit_task_end", "teardown")
            for each in callbacks:
                if isinstance(each, type) or not all(hasattr(each, hook) for hook in hooks):
                    raise TypeError(
                        "callbacks must be instances following the FitCallback protocol."
                    )
            if callbacks:
                self._skl_callbacks = list(callbacks)
            else:
                self.__dict__.pop("_skl_callbacks", None)
            return self

        def _init_callback_context(self, max_subtasks: int = 0) -> _Task:
            """Return the task of the fit, and set the callbacks up."""
            self._callback_fit_ctx = _Task("fit", 0, max_subtasks, None)
            for callback in getattr(self, "_skl_callbacks", []):
                self._callback_fit_ctx.callbacks.append(callback)
                callback.setup(estimator=self, context=self._callback_fit_ctx)
            return self._callback_fit_ctx

    @contextmanager
    def callback_management_context(estimator: Any) -> Iterator[None]:
        """Tear the callbacks that were set up down at the end."""
        try:
            yield
        finally:
            task = vars(estimator).pop("_callback_fit_ctx", None)
            for callback in [] if task is None else task.callbacks:
                callback.teardown(estimator=estimator, context=task)


__all__ = ["CallbackSupportMixin", "callback_management_context"]

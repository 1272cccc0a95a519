"""Kernels that only kernels call: written as LLVM code, which is linked into that of their callers.

numba optimizes every function and translates it into machine code, and then links the optimized
code into each caller's, where it is optimized and translated again, once a level of calls.  That
took a third of the time of compiling a pass.  What is compiled here stays as it was written until
the outermost caller's code is optimized, with all that it calls, in one run.

Such a kernel has no address and no environment of numba's: it raises nothing that is made up at
run time, and is kept on disk only as part of its callers.
"""

from __future__ import annotations

from typing import Any

from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import AnnotateTypes, NativeLowering


class _LinkedLibrary(JITCodeLibrary):  # type: ignore[misc] # numba is untyped
    """Code of a kernel and of those that it calls, neither optimized nor translated."""

    attributes: tuple[str, ...] = ()

    def add_ir_module(self, module: Any) -> None:
        for function in module.functions:
            if not function.is_declaration:
                for attribute in self.attributes:
                    function.attributes.add(attribute)
        super().add_ir_module(module)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _SmallLibrary(_LinkedLibrary):
    """Code that runs so rarely that its loops are neither unrolled nor turned into vectors."""

    attributes = ("minsize", "noinline")


@register_pass(mutates_CFG=False, analysis_only=True)
class _TakeLinkedLibrary(LoweringPass):  # type: ignore[misc]
    """Gives the code that is about to be written a library that does not translate it."""

    _name = "fastgmm_take_linked_library"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        kind = _SmallLibrary if isinstance(state.pipeline, SmallCompiler) else _LinkedLibrary
        state.library = kind(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


@register_pass(mutates_CFG=False, analysis_only=True)
class _OfferLinking(LoweringPass):  # type: ignore[misc]
    """Registers the code under a function without an address, by which numba finds it."""

    _name = "fastgmm_offer_linking"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        description = state.cr.fndesc
        stub = _dynfunc.make_function(
            description.lookup_module(), description.qualname, "", 0, state.cr.env, ()
        )
        state.targetctx.insert_user_function(stub, description, [state.library])
        state.cr = state.cr._replace(cfunc=stub)
        return False


class LinkedCompiler(CompilerBase):  # type: ignore[misc]
    """numba's compiler of typed code, but for the translation into machine code."""

    def define_pipelines(self) -> list[Any]:
        """Return numba's passes and the two of this module."""
        self.state.flags.no_compile = True
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_TakeLinkedLibrary, AnnotateTypes)
        passes.add_pass_after(_OfferLinking, NativeLowering)
        passes.finalize()
        return [passes]


class SmallCompiler(LinkedCompiler):
    """The same for kernels that run rarely, whose code is to be small and soon compiled."""

"""(JobSpec, Site, Limits) -> Plan: every decision about a job, in one pass and without effects."""

from typing import TYPE_CHECKING

from slurmkit.errors import InvalidInputError
from slurmkit.plan.container import choose_container
from slurmkit.plan.directives import choose_directives, unresolved
from slurmkit.plan.environment import check_secrets, choose_defaults, choose_env
from slurmkit.plan.inputs import Context, Inputs
from slurmkit.plan.model import Modules, Plan, Software, Sweep
from slurmkit.plan.recovery import (
    choose_checkpoints,
    choose_recovery,
    recovery_notes,
    wants_warning,
)
from slurmkit.plan.shape import choose_shape
from slurmkit.plan.step import choose_step
from slurmkit.plan.words import literal, path_word, sweep_variable
from slurmkit.site.models import Site
from slurmkit.spec.models import JobSpec

if TYPE_CHECKING:
    from slurmkit.limits import Limits

__all__ = ["Context", "make_plan"]


def make_plan(spec: JobSpec, site: Site, limits: "Limits | None", context: Context) -> Plan:
    """Decide everything about a job.

    Args:
        spec: what the user asks for; its own rules (``slurmkit.spec.rules``) hold.
        site: what the cluster is.
        limits: the live cluster's snapshot, for defaults that depend on it; None when not asked.
        context: where the job comes from and goes to.

    Raises:
        InvalidInputError: the job does not fit this site; carries every problem found.
    """
    inputs = Inputs(spec, site, limits, context, problems=[])
    shape = choose_shape(inputs)
    env = choose_env(inputs, shape)
    check_secrets(inputs)
    sweep = _sweep(spec)
    workdir = path_word(spec.launch.workdir or ".", context.base_dir)
    variables = [name for name, _ in env] + [name for name, _ in (sweep.axes if sweep else ())]
    checkpoints = choose_checkpoints(inputs)
    container = choose_container(inputs, shape, workdir, variables)
    plan = Plan(
        name=spec.name,
        kind=spec.launch.kind,
        slurmkit=context.slurmkit,
        portable=context.portable,
        is_array=bool(sweep or spec.array),
        directives=choose_directives(inputs, shape, sweep),
        shape=shape,
        env=env,
        defaults=choose_defaults(inputs, env),
        run_dir=literal(context.run_dir) if context.run_dir is not None else None,
        run_root=path_word(context.run_root, context.base_dir),
        workdir=workdir,
        software=_software(inputs),
        container=container,
        sweep=sweep,
        secrets=tuple(secret.name for secret in spec.secrets),
        warning_signal=site.signal.name if wants_warning(inputs) else "",
        step=choose_step(inputs, shape, container),
        checkpoints=checkpoints,
        recovery=choose_recovery(inputs),
        notes=(*unresolved(inputs), *recovery_notes(inputs)),
    )
    if inputs.problems:
        raise InvalidInputError(inputs.problems)
    return plan


def _sweep(spec: JobSpec) -> Sweep | None:
    if spec.sweep is None:
        return None
    matrix = spec.sweep.matrix
    return Sweep(tuple((sweep_variable(name), tuple(values)) for name, values in matrix.items()))


def _software(inputs: Inputs) -> Software:
    wanted, site = inputs.spec.software, inputs.site.modules
    base_dir = inputs.context.base_dir
    names = (*site.default, *wanted.modules)
    if wanted.modules and site.system == "none":
        inputs.report(
            "this site has no environment modules",
            key="software.modules",
            hint="set modules.system in site.yaml, or use venv, conda or setup",
            code="no-modules",
        )
    conda = None
    if wanted.conda is not None:
        is_folder = "/" in wanted.conda or wanted.conda.startswith((".", "~"))
        conda = path_word(wanted.conda, base_dir) if is_folder else literal(wanted.conda)
    return Software(
        modules=Modules(names, site.init or "", site.purge) if names else None,
        venv=path_word(wanted.venv, base_dir) if wanted.venv is not None else None,
        conda=conda,
        setup=tuple(wanted.setup),
    )

"""What tells ``slurmkit exec`` to bind the ranks: the job, and the site where it is silent."""

from slurmkit.plan.inputs import Inputs

# Key -> variable and the value that nobody needs to say.
_KEYS = {
    "policy": ("SLURMKIT_AFFINITY_POLICY", "nearest"),
    "smt": ("SLURMKIT_AFFINITY_SMT", "use"),
    "reserved_cores": ("SLURMKIT_AFFINITY_RESERVED_CORES", 0),
    "memory": ("SLURMKIT_AFFINITY_MEMORY", "local"),
    "wiring": ("SLURMKIT_AFFINITY_WIRING", None),
}


def choose_affinity(inputs: Inputs) -> dict[str, str]:
    """Return the variables by name; none when nobody asks for it."""
    wanted, site = inputs.spec.affinity, inputs.site.affinity
    if wanted is None and site is None:
        return {}
    said = {**_said(site), **_said(wanted)}
    unbound = _why_unbound(inputs)
    mode = said.get("mode", "warn")
    if unbound and mode == "strict" and "mode" in _said(wanted):
        inputs.report(
            f"affinity: strict cannot hold: {unbound}",
            key="affinity",
            hint="use launcher: srun, without pyxis or --portable; or affinity: warn",
            code="affinity",
        )
    if unbound and "mode" not in _said(wanted):
        # A site's default must not stop the jobs that nobody can bind; they say so in their log.
        if mode == "off":
            return {}
        mode = "warn"
    exports = {"SLURMKIT_AFFINITY": str(mode)}
    if mode == "off":
        return exports
    for key, (name, default) in _KEYS.items():
        if said.get(key, default) != default:
            exports[name] = str(said[key])
    return exports


def _said(section: "Section | None") -> dict[str, object]:
    """Return the keys that somebody wrote: what is left out, the site or the default decides."""
    if section is None:
        return {}
    return {name: getattr(section, name) for name in section.model_fields_set}


def _why_unbound(inputs: Inputs) -> str:
    """Return why nothing of slurmkit starts each rank of this job; empty when something does."""
    container = inputs.spec.software.container
    if inputs.context.portable:
        return "a portable script has no slurmkit on the nodes to bind the ranks"
    if inputs.spec.launch.launcher == "torchrun":
        return "torchrun starts the ranks of a node itself, unbound"
    if container is not None and "pyxis" in (
        container.runtime or inputs.site.container_runtime or ""
    ):
        return "inside a pyxis container there is no slurmkit to bind the ranks"
    return ""


TYPE_CHECKING = False
if TYPE_CHECKING:
    from slurmkit.yamlfile.types import Section

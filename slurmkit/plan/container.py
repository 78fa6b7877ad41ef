"""The container that every task runs in: image, mounts, options of its runtime."""

from slurmkit.plan.inputs import Inputs
from slurmkit.plan.model import Container, Shape, Variable, Word
from slurmkit.plan.words import join_word, literal, path_word

RUN_DIR = Variable("SLURMKIT_RUN_DIR")
_IMAGE_FILES = (".sif", ".simg", ".sqsh", ".squashfs")


def choose_container(
    inputs: Inputs, shape: Shape, workdir: Word, variables: list[str]
) -> Container | None:
    """Return the container; the working folder and the run directory are mounted where they are.

    Args:
        inputs: the job and its surroundings.
        shape: the job's counts.
        workdir: folder that the program runs in.
        variables: names of the variables that must win over those of the image.
    """
    wanted = inputs.spec.software.container
    if wanted is None:
        return None
    runtime = wanted.runtime or inputs.site.container_runtime
    if runtime is None:
        inputs.report(
            "nothing says what runs the image",
            key="software.container.runtime",
            hint="write runtime: pyxis or runtime: apptainer",
            code="no-runtime",
        )
        return None
    mounts = _mounts(inputs, workdir)
    image = _image(wanted.image, inputs.context.base_dir)
    if runtime == "pyxis":
        _check_commas(inputs, mounts)
        return Container(runtime, image, mounts, _pyxis(image, mounts, workdir, variables))
    return Container(runtime, image, mounts, _apptainer(mounts, workdir, shape))


def _image(image: str, base_dir: str) -> Word:
    """Return a file as an absolute path, and anything else (``docker://...``) as it stands."""
    is_path = image.startswith(("/", "./", "../", "~/"))
    if is_path or ("://" not in image and image.endswith(_IMAGE_FILES)):
        return path_word(image, base_dir)
    return literal(image)


def _mounts(inputs: Inputs, workdir: Word) -> tuple[Word, ...]:
    container = inputs.spec.software.container
    mounts: list[Word] = []
    taken: set[Word] = set()
    for text in container.mounts if container is not None else []:
        source, _, rest = text.partition(":")
        target, _, flags = rest.partition(":")
        destination = path_word(target or source, "/")
        taken.add(destination)
        suffix = f":{flags}" if flags else ""
        mounts.append(
            join_word(path_word(source, inputs.context.base_dir), ":", destination, suffix)
        )
    if workdir not in taken:
        mounts.append(join_word(workdir, ":", workdir))
    if not inputs.context.portable:
        # Secrets, published addresses and checkpoints are in the run directory.
        mounts.append((RUN_DIR, ":", RUN_DIR))
    return tuple(mounts)


def _check_commas(inputs: Inputs, mounts: tuple[Word, ...]) -> None:
    for mount in mounts:
        if any(isinstance(part, str) and "," in part for part in mount):
            inputs.report(
                "a mount holds a comma, which pyxis takes for the end of it",
                key="software.container.mounts",
                hint="rename the folder or mount it by a link without a comma",
                code="mount",
            )


def _pyxis(
    image: Word, mounts: tuple[Word, ...], workdir: Word, variables: list[str]
) -> tuple[Word, ...]:
    """Return options of srun (https://github.com/NVIDIA/pyxis/wiki/Usage)."""
    sources: list[Word | str] = []
    for mount in mounts:
        sources += [",", mount] if sources else [mount]
    options = [
        join_word("--container-image=", image),
        join_word("--container-mounts=", *sources),
        join_word("--container-workdir=", workdir),
    ]
    if variables:
        # The image's own values would win otherwise.
        options.append(literal(f"--container-env={','.join(variables)}"))
    return tuple(options)


def _apptainer(mounts: tuple[Word, ...], workdir: Word, shape: Shape) -> tuple[Word, ...]:
    options = [literal("--nv")] if shape.gpus_per_node else []
    for mount in mounts:
        options.append(join_word("--bind=", mount))
    return (*options, join_word("--pwd=", workdir))

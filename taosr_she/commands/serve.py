"""`taosr-she serve`: judgements over HTTP."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from taosr_she.base.errors import UserError
from taosr_she.base.terminal import terminal
from taosr_she.commands.options import DeviceOption, ForceDomainOption, LengthOption, ModelDomainOption, columns
from taosr_she.commands.paths import path_option

NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def serve(
    model: Annotated[
        str, typer.Argument(help="Model: a folder, a name from docs/models.md, a hub name, or the name of a run.")
    ] = "demo",
    domain: ModelDomainOption = None,
    force_domain: ForceDomainOption = False,
    mode: Annotated[
        str, typer.Option(help="reason (steps, then label) or label (label distribution only).")
    ] = "reason",
    name: Annotated[
        str | None, typer.Option(help="Name of the model for clients. Default: the run's or folder's name.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on. Any but loopback needs keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    keys: Annotated[Path | None, path_option("File with API keys, one a line; or TAOSR_SHE_KEYS.")] = None,
    admin_keys: Annotated[
        Path | None, path_option("File with keys for /admin/reload; or TAOSR_SHE_ADMIN_KEYS.")
    ] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let others reach the service although it has no keys.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Candidates judged together. Default: 64 on a CPU, 256 on a GPU.")
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="Candidates that may wait; above it, calls get 429.")] = 2048,
    candidates: Annotated[int, typer.Option(min=1, help="Candidates in a call.")] = 1000,
    body_bytes: Annotated[int, typer.Option(min=1024, help="Bytes of a request's body.")] = 2 * 1024 * 1024,
    deadline: Annotated[float, typer.Option(help="Seconds a candidate may wait.")] = 30.0,
    grace: Annotated[float, typer.Option(help="Seconds that accepted calls have after SIGTERM.")] = 30.0,
    field: Annotated[
        list[str] | None,
        typer.Option(help="title=NAME: our field and its name in documents of other tools. Repeatable."),
    ] = None,
    device: DeviceOption = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    max_new_tokens: LengthOption = 128,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Also log queries and titles.")] = False,
) -> None:
    """Serve judgements over HTTP (docs/serving.md)."""
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise UserError(f"the service needs {', '.join(missing)}: pip install 'taosr-she[serve]'")

    from pydantic import ValidationError

    from taosr_she.base.config import describe
    from taosr_she.serve.running import serve as run
    from taosr_she.serve.settings import ServeSettings

    try:
        settings = ServeSettings.model_validate({
            "model": model, "domain": domain, "force_domain": force_domain, "mode": mode, "name": name, "host": host,
            "port": port, "keys": keys, "admin_keys": admin_keys, "without_keys": without_keys, "batch": batch,
            "queue": queue, "candidates": candidates, "body_bytes": body_bytes, "deadline": deadline, "grace": grace,
            "fields": columns(field) or {}, "device": device, "dtype": dtype, "max_new_tokens": max_new_tokens,
            "log_texts": log_texts,
        })  # fmt: skip
    except ValidationError as error:
        raise UserError(f"serve: {describe(error)}") from error
    screen = terminal()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("taosr_she.serve").setLevel(logging.INFO)
    run(settings, lambda line: screen.print(line, soft_wrap=True, markup=False, highlight=False))

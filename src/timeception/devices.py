"""Devices that networks run on."""

from __future__ import annotations

from timeception import checks


def check_device(name: str | None) -> None:
    """Check that a device exists.

    Raises:
        ValueError: if PyTorch knows no such device, or this machine has none.
    """
    import torch

    if name is None:
        return
    advice = "Leave out --device to use a GPU if there is one, otherwise the CPU."
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        text = str(error).partition("\n")[0]
        is_gpu = name.partition(":")[0] == "cuda"
        n_gpus = torch.cuda.device_count() if is_gpu else 0
        reason = f"PyTorch finds {n_gpus} GPUs here." if is_gpu else f"PyTorch reports: {text}"
        must = "be a device of this machine, such as cpu or cuda"
        raise ValueError(checks.problem("device", must, name, f"{reason} {advice}")) from error


def default_device() -> str:
    """Return the device of a backbone: a GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

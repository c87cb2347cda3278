"""Files and modules that the audit does not read: their names, and what to do instead."""

import re
import zipfile
from pathlib import Path

import numpy as np

EXPORT = (
    'np.savez("weights.npz", **{k: v.detach().cpu().numpy() '
    "for k, v in model.state_dict().items()})"
)
_PICKLE = (
    "reading a pickle can run any code, so it is not read. Export it where you trust it: " + EXPORT
)
_KERAS = (
    "write an npz file where you can read it, with NAME.weight of shape (out, in), which is W.T of "
    "Keras, and NAME.bias for each layer"
)
FORMATS = {  # by name: how a file begins, how its name ends, what an archive holds; what to do
    "a Git LFS pointer, which stands for a file": (
        b"version https://git-lfs", (), "", "get the file itself by: git lfs pull",
    ),
    "a file of torch.save, which holds a pickle,": (b"\0", (), "data.pkl", _PICKLE),
    "a pickle": (
        b"\x80[\2-\5](?!.{2}\0{4})",  # a safetensors file can begin alike, with its size
        (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib"), "", _PICKLE,
    ),
    "a Keras archive": (b"\0", (".keras",), "model.weights.h5", _KERAS),
    "an HDF5 file": (b"\x89HDF", (".h5", ".hdf5"), "", _KERAS),
    "an ONNX model": (
        b"\x08.{0,9}(pytorch|onnx)", (".onnx",), "",
        "write its initializers, onnx.numpy_helper.to_array(i), as NAME.weight and NAME.bias by "
        "np.savez",
    ),
    "a single array without names": (
        b"\x93NUMPY", (".npy",), "", "write the arrays with their names by np.savez",
    ),
}  # fmt: skip
_REMOVE = (
    "remove the parametrization before the export: "
    "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
)
_OTHER = "the audit reads fully connected layers only; export these alone, if they read the inputs"
MODULES = {  # by name: how an array's name looks, and what to do
    "LoRA's matrices A and B": (
        r"lora", "they change the layer beside them and are no layers; merge them before the "
        "export, by model.merge_and_unload() in peft",
    ),
    "BatchNorm": (
        r"running_(mean|var)$|num_batches_tracked$", "fold it into the Linear before it: "
        "torch.nn.utils.fusion.fuse_linear_bn_eval(linear, norm)",
    ),
    "weight_norm": (
        r"weight_g$|parametrizations\.weight\.original[01]$",
        f"{_REMOVE}, or torch.nn.utils.remove_weight_norm(layer)",
    ),
    "spectral_norm": (
        r"\b_u$|weight_u$", f"{_REMOVE}, or torch.nn.utils.remove_spectral_norm(layer)",
    ),
    "a parametrization": (r"parametrizations\.", _REMOVE),
    "a pruning mask": (
        r"weight_mask$", "make it part of the weights: torch.nn.utils.prune.remove(layer, 'weight')"
    ),
    "attention": (r"in_proj_weight|\b([qkv]|qkv|query|key|value)(_proj)?\.weight", _OTHER),
    "a recurrent layer": (r"weight_(ih|hh)", _OTHER),
    "a quantised layer": (r"packed_params|zero_point$|\bscale$", "export the floating weights"),
    "a layer of Keras or Flax": (
        r"\bkernel(:0)?$", "write it as NAME.weight, transposed to (out, in), and NAME.bias"
    ),
    "a layer of scikit-learn": (
        r"^(coefs|intercepts)_", "write each as NAME.weight, transposed: coefs_[i].T, and NAME.bias"
    ),
    "the averages of AveragedModel": (r"n_averaged$", "export model.module"),
}  # fmt: skip


def refuse_other_formats(path: Path) -> None:
    """Raise ValueError if a file is of a known format that the audit does not read."""
    if not path.is_file():
        return
    with open(path, "rb") as file:
        head = file.read(64)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        members = []
    for name, (begins, ends, holds, advice) in FORMATS.items():
        inside = re.match(begins, head, re.DOTALL) or any(holds and holds in m for m in members)
        if inside or path.suffix.lower() in ends:
            raise ValueError(
                f"{path}: expected an npz or safetensors file, got {name} by its "
                f"{'content' if inside else 'name'}; {advice}"
            )


def refuse_other_modules(path: Path, state: dict[str, np.ndarray]) -> None:
    """Raise ValueError if arrays belong to a known module other than Linear."""
    for name, (looks, advice) in MODULES.items():
        for key in state:
            if re.search(looks, key, re.IGNORECASE):
                raise ValueError(f"{path}: {key!r} belongs to {name}; {advice}")
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        biased = f"{layer}.bias" in state
        if kind == "weight" and value.ndim == 1 and biased:
            raise ValueError(
                f"{path}: {key!r} belongs to LayerNorm or a like module, which depends on each "
                f"sample and cannot be folded; {_OTHER}"
            )
        if kind == "weight" and value.ndim == 1:
            raise ValueError(
                f"{path}: {key!r} belongs to PReLU or RMSNorm; for PReLU leave it out, and give "
                "its slope by --activation leaky_relu --alpha SLOPE"
            )
        if kind == "weight" and re.search(r"\bemb|\bwte|\bwpe", layer) and not biased:
            raise ValueError(f"{path}: {key!r} belongs to an embedding of tokens; {_OTHER}")

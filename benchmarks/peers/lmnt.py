"""lmnt-com's ``diffwave`` as its own process answers for it: its learner, checkpoint, front end and ``predict``.

Nothing here may import this project's package, which has the same name.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.given import count, repeat, served, stir
from benchmarks.peers.vocoders import Request, Speaking, Work


class Lmnt(Speaking):
    """The package, through its own code."""

    def __init__(self, device: torch.device) -> None:
        from diffwave.params import params

        from diffwave import inference, learner, model

        super().__init__(device)
        self.inference, self.learning, self.network, self.params = inference, learner, model.DiffWave, params
        self.learners: dict[str, Any] = {}

    def load(self, request: Request) -> Request:
        """Read ``weights.pt`` and the mel ``[M, F]`` of a folder."""
        self.model = request["model"]
        self.mel: Tensor = torch.load(Path(self.model) / "inputs.pt", weights_only=True)["mel"]
        self._predict(self.mel[:, :1], self.model)  # loads the weights
        return {"parameters": count(self.inference.models[self.model])}

    def prepare(self, request: Request) -> Work:
        """As a user of the package does, or with the two switches that PyTorch offers to everybody."""
        mode, key = request["mode"], self.model
        mel = repeat(self.mel, round(request["seconds"] * 22050 / 256), request["batch"])
        if mode.get("compile"):
            key = "compiled"
            # The package keeps loaded networks under the folder they came from.
            self.inference.models.setdefault(key, torch.compile(self.inference.models[self.model]))

        def call() -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=mode["precision"] == "bfloat16"):
                return self._predict(mel, key)

        return Work(call, mel.shape[0] * mel.shape[-1] * 256 / 22050)

    def wav(self, request: Request) -> Request:
        """Write the output ``[N]`` for the whole mel and prepared noise ``[S, N]``."""
        noise = torch.load(request["noise"], weights_only=True).to(self.device)
        # TF32, PyTorch's default for convolutions on a GPU, keeps three digits: too few to compare two packages with.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False), served(noise[:, None], "randn", "randn_like"):
            wav = self._predict(self.mel, self.model)[0]
        torch.save(wav.float().cpu(), request["output"])
        return {}

    def load_batch(self, request: Request) -> Request:
        """Read weights, noise, steps, and a batch as its loader would hand it over."""
        torch.backends.cudnn.benchmark = True  # as the package does
        self.inputs = torch.load(request["inputs"], weights_only=True)
        features = {"audio": self.inputs["audio"], "spectrogram": self.inputs["spectrogram"]}
        if self.device.type == "cuda":  # its loader pins
            features = {name: value.pin_memory() for name, value in features.items()}
        self.features = features
        return {}

    def learn(self, request: Request) -> Request:
        """Write loss and gradients of a training step in float32 with the given weights, noise and steps."""
        self.learners.clear()
        learner = self._learner("float32", self.inputs["weights"])
        steps, noise = self.inputs["steps"].to(self.device), self.inputs["noise"].to(self.device)
        with served([steps], "randint"), served([noise], "randn_like"):
            loss = learner.train_step(self._moved(self.features)).detach()
        gradients = {name: value.grad.cpu() for name, value in learner.model.named_parameters()}
        torch.save({"loss": loss.cpu(), "gradients": gradients}, request["output"])
        self.learners.clear()
        return {}

    def train(self, request: Request) -> Request:
        """Time training steps; ``float16`` is the package's ``--fp16``."""
        learner = self._learner(request["mode"], self.inputs["weights"])
        begun = time.perf_counter()
        for _ in range(request["steps"]):  # what DiffWaveLearner.train does; progress bar and summary are left out
            loss = learner.train_step(self._moved(self.features))
            if torch.isnan(loss).any():
                raise RuntimeError("the loss is no number")
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return {"seconds": time.perf_counter() - begun, "loss": float(loss.detach())}

    def parity(self, request: Request) -> Request:
        """Answer ``request.pt`` of a work folder: ``params``, ``wav`` ``[N]``, ``noise`` ``[T, N]`` and ``kinds``.

        Writes ``model/weights.pt`` by its learner, after a training step, with an output layer that is not zero; and
        ``answer.pt``: the mel that its ``preprocess.py`` makes of the wav, and what ``predict`` makes of mels with the
        noise, in all steps and in fast ones, for one example and for two at once.
        """
        work = Path(request["work"])
        given, params = torch.load(work / "request.pt", weights_only=True), self.params
        params.override(given["params"])
        noise = given["noise"]
        mel = self._front_end(given["wav"], work)[:, : noise.shape[1] // params.hop_samples]
        self._write_model(work / "model", mel)
        mels = {"one": mel.unsqueeze(0), "two": torch.stack([mel, mel.flip(-1)])}
        answer = {"mel": mel, "two": mels["two"]}
        for name, batch in mels.items():
            for kind in given["kinds"]:
                steps = len(params.inference_noise_schedule if kind == "fast" else params.noise_schedule)
                with served(noise[:steps, None].expand(-1, len(batch), -1), "randn", "randn_like"):
                    answer[f"{kind} {name}"] = self._predict(batch, str(work / "model"), kind == "fast")
        torch.save(answer, work / "answer.pt")
        return {}

    def _front_end(self, wav: Tensor, folder: Path) -> Tensor:
        """The mel ``[M, F]`` that ``preprocess.py`` writes for a 16-bit file with this wav ``[N]``."""
        import numpy as np
        import torchaudio

        from diffwave import preprocess

        # torchaudio.load_wav went with torchaudio 0.9: 16-bit numbers as floats.
        torchaudio.load_wav = lambda _name: (wav.unsqueeze(0) * 32767.5, self.params.sample_rate)
        preprocess.transform(str(folder / "speech.wav"))
        return torch.from_numpy(np.load(folder / "speech.wav.spec.npy"))

    def _write_model(self, folder: Path, mel: Tensor) -> None:
        """A checkpoint by its learner, after one iteration of Adam."""
        torch.manual_seed(0)
        learner = self._learner("float32", None)
        learner.model_dir = str(folder)
        folder.mkdir(exist_ok=True)
        stir(learner.model)
        audio = 0.1 * torch.randn(1, self.params.hop_samples * mel.shape[-1])
        learner.train_step({"audio": audio, "spectrogram": mel.unsqueeze(0)})
        learner.step = 1
        learner.save_to_checkpoint()

    def _learner(self, mode: str, weights: dict[str, Tensor] | None) -> Any:
        """The package's learner with its own network, optimiser and parameters, as its ``_train_impl`` makes it."""
        if mode not in self.learners:
            model = self.network(self.params).to(self.device)
            if weights is not None:
                model.load_state_dict(weights)
            optimizer = torch.optim.Adam(model.parameters(), lr=self.params.learning_rate)
            folder = tempfile.gettempdir()  # it only makes sure that the folder exists
            self.learners[mode] = self.learning.DiffWaveLearner(
                folder, model, None, optimizer, self.params, fp16=mode == "float16"
            )
        return self.learners[mode]

    def _moved(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        moved: dict[str, Tensor] = self.learning._nested_map(features, lambda x: x.to(self.device))
        return moved

    def _predict(self, mel: Tensor, model: str, fast: bool = True) -> Tensor:
        wav: Tensor
        wav, _rate = self.inference.predict(mel, model_dir=model, device=self.device, fast_sampling=fast)
        return wav
